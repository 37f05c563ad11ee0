"""What an invocation in this process is told of its operations, and how far it has been told."""

from __future__ import annotations

from collections import deque

from durably.engine.execution import Execution, changed_since
from durably.engine.tips import Listener, Push

NOTHING = Push((), 0)


class News:
    """What is told to one invocation, in order: nothing before it is durable.

    Args:
        mark: how far into `Execution.changes` its state went when it began.

    Attributes:
        listener: whoever is told, once somebody listens.
        heard: how far it has taken note. All of that is durable, so it stays what it is.
    """

    __slots__ = ("_told", "_undelivered", "heard", "listener")

    def __init__(self, mark: int) -> None:
        self.listener: Listener | None = None
        self._undelivered: deque[Push] = deque()
        self._told = self.heard = mark

    def are_there(self, execution: Execution) -> bool:
        """Whether something has changed since the last capture."""
        return self._told < len(execution.changes)

    def capture(self, execution: Execution) -> Push:
        """Take what has changed since the last capture; it is going to be told."""
        operations = changed_since(execution, self._told)
        self._told = len(execution.changes)
        push = Push(operations, self._told)
        self._undelivered.append(push)
        return push

    def tell_before(self, push: Push) -> bool:
        """Tell what was captured before *push*, which is durable now. `False`: it was told, too.

        Whoever waits for an earlier one may be woken later. It is durable, too, and must not
        undo in the invocation's eyes what this one says.
        """
        if all(one is not push for one in self._undelivered):
            return False
        while (earlier := self._undelivered.popleft()) is not push:
            self.tell(earlier)
        return True

    def tell(self, push: Push) -> None:
        """Tell the listener, and note how far he has heard, if he takes note."""
        if push.operations and self.listener is not None and self.listener(push.operations):
            self.hear(push.mark)

    def hear(self, mark: int) -> None:
        """Note that everything as far as *mark* has been told."""
        self.heard = max(self.heard, mark)

    def go_back(self) -> None:
        """Forget what was captured and is not told: some of it may never have been written.

        What was written, and whoever waited for it has not told yet, is captured once more.
        """
        self._undelivered.clear()
        self._told = self.heard
