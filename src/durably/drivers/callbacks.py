"""Callbacks that have been made, as handlers get them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from durably.drivers.futures import DurableFuture

T = TypeVar("T")


class Callback(Generic[T]):
    """A callback that has been made.

    Attributes:
        callback_id: what the outside system answers to.
    """

    __slots__ = ("_result", "callback_id")

    def __init__(self, callback_id: str, result: Callable[[], DurableFuture[T]]) -> None:
        self.callback_id = callback_id
        self._result = result

    def result(self) -> DurableFuture[T]:
        """Wait for the answer.

        Raises:
            CallbackExternalError: the outside system reported a failure.
            CallbackTimeoutError: it did not answer, or sent no heartbeat, in time.
        """
        return self._result()


class SyncCallback(Generic[T]):
    """A callback that has been made.

    Attributes:
        callback_id: what the outside system answers to.
    """

    __slots__ = ("_result", "callback_id")

    def __init__(self, callback_id: str, result: Callable[[], T]) -> None:
        self.callback_id = callback_id
        self._result = result

    def result(self) -> T:
        """Wait for the answer.

        Raises:
            CallbackExternalError: the outside system reported a failure.
            CallbackTimeoutError: it did not answer, or sent no heartbeat, in time.
        """
        return self._result()
