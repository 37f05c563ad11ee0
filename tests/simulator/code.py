"""The code that a process has: durable functions, compiled when they are first called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from durably import DurableFunction
from durably.core.observer import DurablePlugin
from tests.simulator.handlers import compile_programs
from tests.simulator.ledger import Ledger
from tests.simulator.observed import Hook
from tests.simulator.programs import Program


class Code(Mapping[str, DurableFunction]):
    """The functions of one process, by name.

    Args:
        programs: of each scenario, as they are deployed now.
        node: what the ledger calls the process.
        plugins: told of every invocation.
    """

    def __init__(
        self,
        programs: Sequence[Sequence[Program]],
        ledger: Ledger,
        node: str,
        plugins: tuple[Any, ...] = (),
    ) -> None:
        self._scenarios = [tuple(one) for one in programs]
        self._place = {
            program.name: (number, n)
            for number, one in enumerate(self._scenarios)
            for n, program in enumerate(one)
        }
        self._compiled: dict[int, list[DurableFunction]] = {}
        self._ledger = ledger
        self._node = node
        self._plugins = plugins

    def __getitem__(self, name: str) -> DurableFunction:
        number, n = self._place[name]
        if number not in self._compiled:
            self._compiled[number] = [
                self._own(one)
                for one in compile_programs(self._scenarios[number], self._ledger, node=self._node)
            ]
        return self._compiled[number][n]

    def _own(self, function: DurableFunction) -> DurableFunction:
        function._plugins = self._plugins
        return function

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


class Hooks:
    """Writes down what plugins are told."""

    def __init__(self) -> None:
        self.told: list[Hook] = []
        self._number = count(1)

    def make(self, info: Any) -> DurablePlugin:
        """Make the plugin of one invocation."""
        return _Plugin(self, info.execution_arn, f"unnamed {next(self._number)}")


class _Plugin(DurablePlugin):
    def __init__(self, hooks: Hooks, execution: str, invocation: str) -> None:
        self._hooks = hooks
        self._execution = execution
        self._invocation = invocation

    def _note(self, kind: str, operation_id: str = "", attempt: int | None = None) -> None:
        self._hooks.told.append(
            Hook(
                kind=kind,
                execution=self._execution,
                invocation=self._invocation,
                operation_id=operation_id,
                attempt=attempt,
            )
        )

    def on_invocation_start(self, info: Any) -> None:
        self._invocation = info.request_id or self._invocation
        self._note("invocation_start")

    def on_invocation_end(self, info: Any) -> None:
        self._note("invocation_end")

    def on_operation_end(self, info: Any) -> None:
        self._note("operation_end", info.id)

    def on_operation_attempt_start(self, info: Any) -> None:
        self._note("operation_attempt_start", info.id, info.attempt)

    def on_operation_attempt_end(self, info: Any) -> None:
        self._note("operation_attempt_end", info.id, info.attempt)

    def on_user_function_start(self, info: Any) -> None:
        self._note("user_function_start", info.id, info.attempt)

    def on_user_function_end(self, info: Any) -> None:
        self._note("user_function_end", info.id, info.attempt)
