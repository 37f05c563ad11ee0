"""The command line, as `python -m durably`."""

from durably.cli.main import main

main()
