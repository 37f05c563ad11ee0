"""What a test needs: CI fails without it, a desk does without."""

import pytest

from tests.needed import missing, package


@pytest.mark.parametrize(
    ("ci", "ending"),
    [
        ("true", pytest.fail.Exception),
        ("", pytest.skip.Exception),
        ("false", pytest.skip.Exception),
    ],
)
def test_what_is_missing_is_a_failure_in_ci_alone(
    ci: str, ending: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    either = (pytest.fail.Exception, pytest.skip.Exception)  # or a skip would skip this test
    with pytest.raises(either, match="the program is not here") as at_once:
        missing("the program is not here")
    with pytest.raises(either, match="it is not installed") as of_package:
        package("no_such_package_of_ours", "it is not installed")
    assert at_once.type is of_package.type is ending


def test_what_is_there_is_found() -> None:
    assert (package("pytest", "it runs this") / "__init__.py").exists()
