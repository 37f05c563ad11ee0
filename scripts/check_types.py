"""Ask pyright whether users see a type everywhere: no exported name may have an unknown one.

An attribute whose type follows from a typed parameter counts as "ambiguous" there; those are fine.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

# Pyright looks for the package where the interpreter that it finds first looks, and nowhere else.
BIN = Path(sys.executable).parent
COMMAND = ("pyright", "--verifytypes", "durably", "--ignoreexternal", "--outputjson")


def main() -> int:
    """Say which names lack a type; 1 if there are any."""
    path = os.pathsep.join((str(BIN), os.environ.get("PATH", "")))
    ran = subprocess.run(  # noqa: S603 - our own words
        [BIN / COMMAND[0], *COMMAND[1:]],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path},
    )
    report = json.loads(ran.stdout)["typeCompleteness"]
    if not report["exportedSymbolCounts"]["withKnownType"]:
        print(f"pyright did not find the package: {ran.stdout}{ran.stderr}")
        return 1
    unknown = [
        symbol["name"]
        for symbol in report["symbols"]
        if symbol["isExported"] and not (symbol["isTypeKnown"] or symbol["isTypeAmbiguous"])
    ]
    for name in unknown:
        print(f"no type: {name}")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
