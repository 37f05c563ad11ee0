"""Which executions beside one's own are worked on, because they are due in the same store."""

from __future__ import annotations

from collections.abc import Collection

from durably.cli.printing import safe
from durably.engine.service import Service
from durably.engine.store import Query
from durably.wire.execution import ExecutionStatus

_MAX_LOOKED_AT = 100
_MAX_NAMED = 3


class Others:
    """The executions that nobody asked for here, but that go on all the same.

    Those that were invoked by another execution are left out: they belong to it.

    Args:
        service: where they are.
        functions: the names of those that can be called here.
    """

    def __init__(self, service: Service, functions: Collection[str]) -> None:
        self._service = service
        self._functions = functions
        self._titles: dict[str, str] = {}
        self._told: set[str] = set()

    async def look(self) -> None:
        """Note those of the newest executions that are due, or at work."""
        status = ExecutionStatus.RUNNING.value
        query = Query(statuses=(status,), is_parked=False, limit=_MAX_LOOKED_AT)
        now = self._service.clock.now()
        for one in (await self._service.list(query)).executions:
            is_due = one.wake_at is not None and one.wake_at <= now
            if one.is_claimed:  # where many work on a store, by whoever has claimed it
                is_due = self._service.sharing is None
            is_ours = one.summary.function_name in self._functions
            if is_due and is_ours and one.summary.parent_arn is None:
                title = f"{one.summary.function_name}/{one.summary.execution_name}"
                self._titles.setdefault(one.arn, title)

    def news(self, own: str) -> str | None:
        """Name those not told of before, other than *own*, if there are any."""
        new = [arn for arn in self._titles if arn != own and arn not in self._told]
        if not new:
            return None
        self._told.update(new)
        named = ", ".join(safe(self._titles[arn]) for arn in new[:_MAX_NAMED])
        more = f" and {len(new) - _MAX_NAMED} more" if len(new) > _MAX_NAMED else ""
        return f"shares this process with {named}{more}: due in the same store"
