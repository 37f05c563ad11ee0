"""The functions of a suite, by the requirements that they serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from durably import DurableFunction, DurablePlugin, PluginFactoryInfo, durable_execution

Plugin = DurablePlugin | Callable[[PluginFactoryInfo], DurablePlugin]


class Suite:
    """Handlers, registered as they are defined.

    Attributes:
        functions: by the id of the requirement that each serves.
        targets: functions that only other functions invoke.
    """

    def __init__(self) -> None:
        self.functions: dict[str, DurableFunction] = {}
        self.targets: list[DurableFunction] = []

    def all(self) -> list[DurableFunction]:
        """Give everything that must be registered."""
        return [*self.functions.values(), *self.targets]

    def serves(
        self, requirement: str, *, plugins: Sequence[Plugin] = ()
    ) -> Callable[[Callable[..., Any]], DurableFunction]:
        """Make the decorated handler the function behind *requirement*."""

        def register(handler: Callable[..., Any]) -> DurableFunction:
            function = durable_execution(handler, plugins=plugins)
            assert requirement not in self.functions, f"{requirement} is served already"
            self.functions[requirement] = function
            return function

        return register

    def target(self, handler: Callable[..., Any]) -> DurableFunction:
        """Make *handler* a function that other handlers can invoke."""
        function = durable_execution(handler)
        self.targets.append(function)
        return function
