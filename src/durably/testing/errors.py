"""What a test fails with. Each says what has run, where the execution stands, and why."""

from __future__ import annotations

from operator import methodcaller


class FailedRunError(AssertionError):
    """The result of an execution was asked for, and it has none because it failed."""


class UnfinishedRunError(AssertionError):
    """An execution does not come to where it was to come by itself."""


class UnmetFakeError(AssertionError):
    """Something was faked that nothing ever asked for; a name may be misspelt."""


class CrashDifferenceError(AssertionError):
    """A function came to something else after a crash, or with its steps in another order."""


class OperationNotFoundError(LookupError):
    """An execution has no such operation, or several of that name."""


FAILURES = (FailedRunError, UnfinishedRunError, UnmetFakeError, CrashDifferenceError)
hides_frames = methodcaller("errisinstance", FAILURES)
"""The `__tracebackhide__` of a module: pytest leaves its frames out where a test fails with one."""
