"""Try the wheel in `dist` as a user would: install it alone, run the README's ten lines."""

import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
EXPECTED = (
    "durably/__init__.py",
    "durably/py.typed",
    "durably_command.py",
    "durably_pytest.py",
    "/licenses/LICENSE",
)
TEN_LINES = re.compile(
    r"^## Ten lines$(?:(?!^## ).)*?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
TIMEOUT_SECONDS = 300


def main() -> None:
    """Check the one wheel in `dist`, and say what was found."""
    (wheel,) = (ROOT / "dist").glob("*.whl")
    check_contents(wheel)
    example = ten_lines((ROOT / "README.md").read_text())
    with TemporaryDirectory() as folder:
        place = Path(folder)
        venv.create(place / "venv", with_pip=True)
        python = place / "venv" / "bin" / "python"
        pins = ["--constraint", str(ROOT / "constraints.txt")]
        run([str(python), "-m", "pip", "install", "--quiet", *pins, str(wheel)], place)
        script = place / "ten_lines.py"
        script.write_text(example)
        # -I: nothing of this repository, of the environment or of the user gets in.
        run([str(python), "-I", str(script)], place)
    print(f"dist: {wheel.name} installs alone and runs the README's ten lines")


def check_contents(wheel: Path) -> None:
    """Refuse a wheel that lacks what it must have, or has more than the package."""
    names = zipfile.ZipFile(wheel).namelist()
    missing = [end for end in EXPECTED if not any(name.endswith(end) for name in names)]
    strange = [
        name
        for name in names
        if not re.match(r"durably(-[^/]+\.dist-info)?/|durably_(command|pytest)\.py$", name)
    ]
    if missing or strange:
        sys.exit(f"dist: {wheel.name} lacks {missing} and should not have {strange}")


def ten_lines(readme: str) -> str:
    """Give the first Python block below the heading `## Ten lines`."""
    block = TEN_LINES.search(readme)
    if block is None:
        sys.exit("dist: README.md has no Python block below '## Ten lines'")
    return block[1]


def run(command: Sequence[str], place: Path) -> None:
    """Run *command* in *place*, and end with what it said if it fails."""
    done = subprocess.run(  # noqa: S603 - the commands are our own
        command, cwd=place, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    if done.returncode:
        sys.exit(f"dist: {' '.join(command)} failed\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
