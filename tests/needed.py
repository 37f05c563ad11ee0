"""What a test needs of the machine: at a desk it is skipped without, in CI that is a failure."""

import importlib.util
import os
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Give a test up because of *what* is not here. CI must have it, or it would prove nothing."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def package(name: str, what: str) -> Path:
    """Give the folder of a package, without which a test cannot be made."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        missing(what)
    return Path(found.origin).parent


def lambda_runtime() -> Path:
    """Give the folder of AWS's own runtime for Python, which has no wheel but for Linux."""
    return package(
        "awslambdaric", "awslambdaric, the runtime of Lambda for Python, is not installed"
    )
