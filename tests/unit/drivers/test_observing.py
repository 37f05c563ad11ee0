"""Plugins: found, made, and told of a whole invocation."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durably.core.journal import Journal
from durably.core.observer import DurablePlugin, PluginFactoryInfo
from durably.drivers.observing import PLUGINS_VARIABLE, observers_of, plugins_named_in, watched
from durably.drivers.settings import RunSettings
from durably.errors import PluginLoadError
from durably.testing.clock import ManualClock
from durably.wire.invocation import InvocationInput, InvocationOutput, InvocationStatus
from durably.wire.operation import ErrorObject
from tests.unit.drivers.support import Backend, Messages, Trial

MODULE = """
from durably.core.observer import DurablePlugin

class Mine(DurablePlugin):
    made = []

    def __init__(self, info):
        self.made.append(info.execution_arn)

raise_at_load = None
"""
ENTRY_POINTS = """
[aws_durable_execution.plugins]
theirs = installed_plugin:Mine
missing = installed_plugin:Missing

[durably.plugins]
ours = installed_plugin:Mine
"""


class Noting(DurablePlugin):
    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def on_invocation_start(self, info: Any) -> None:
        self.told.append(("start", info))

    def on_invocation_end(self, info: Any) -> None:
        self.told.append(("end", info))

    def on_operation_end(self, info: Any) -> None:
        self.told.append(("over", info))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "installed_plugin.py").write_text(MODULE)
    metadata = tmp_path / "installed_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: installed-plugin\nVersion: 1.0\n"
    )
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("installed_plugin", None)


def observers(*plugins: Any) -> Any:
    return observers_of(plugins, Journal("arn", []), ManualClock())


def test_without_plugins_nobody_is_told() -> None:
    assert observers() is None


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_plugins_named_by_the_environment_are_made_once_for_each_invocation(
    name: str, installed: None
) -> None:
    named = plugins_named_in({PLUGINS_VARIABLE: f" {name} "})

    assert observers(*named) is not None
    observers(*named, lambda info: Noting())

    made: list[str] = sys.modules["installed_plugin"].Mine.made
    assert made[-2:] == ["arn", "arn"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("ours,,theirs", "blank or a repeated"),
        ("ours,ours", "blank or a repeated"),
        ("unknown", "no plugin 'unknown' is installed"),
        ("missing", "plugin 'missing' cannot be loaded"),
    ],
)
def test_names_that_mean_nothing_are_refused(names: str, said: str, installed: None) -> None:
    with pytest.raises(PluginLoadError, match=said):
        plugins_named_in({PLUGINS_VARIABLE: names})


def test_an_environment_that_names_none_gives_none() -> None:
    assert plugins_named_in({}) == ()


def test_a_factory_is_told_the_execution() -> None:
    told: list[PluginFactoryInfo] = []

    def make(info: PluginFactoryInfo) -> DurablePlugin:
        told.append(info)
        return Noting()

    observers(make)

    assert told == [PluginFactoryInfo(execution_arn="arn")]


def settings_of(plugin: Noting, journal: Journal) -> RunSettings:
    trial = Trial(lambda ctx: None)
    trial.observers = lambda journal: observers_of([plugin], journal, ManualClock())  # type: ignore[assignment,return-value]  # there is one
    return trial.settings(journal)


def invocation(*updated: str) -> InvocationInput:
    return InvocationInput(
        durable_execution_arn="arn", checkpoint_token="t", updated_operation_ids=updated
    )


@pytest.mark.parametrize(
    ("output", "status"),
    [
        (InvocationOutput(status=InvocationStatus.SUCCEEDED, result="1"), "SUCCEEDED"),
        (
            InvocationOutput(
                status=InvocationStatus.FAILED, error=ErrorObject(error_type="KeyError")
            ),
            "FAILED",
        ),
        (InvocationOutput(status=InvocationStatus.PENDING), "PENDING"),
    ],
)
def test_the_end_of_an_invocation_is_told_with_its_answer(
    output: InvocationOutput, status: str
) -> None:
    plugin, journal = Noting(), Journal("arn", Backend({"a": 1}).memory.operations())

    with watched(settings_of(plugin, journal), journal, invocation(), None) as watch:
        watch.output = output

    (_, started), (_, ended) = plugin.told
    assert (started.input, started.is_first_invocation, started.status) == ('{"a":1}', True, None)
    assert (ended.status, ended.result, ended.execution_error) == (
        status,
        output.result,
        output.error,
    )


def test_an_invocation_that_raises_will_be_made_again() -> None:
    plugin, journal = Noting(), Journal("arn", [])

    with (
        pytest.raises(OSError, match="unplugged"),
        watched(settings_of(plugin, journal), journal, invocation(), None),
    ):
        raise OSError("unplugged")

    assert plugin.told[-1][1].status == "RETRYING"
    assert (plugin.told[0][1].input, plugin.told[0][1].execution_start_timestamp) == (None, None)


def test_what_has_ended_between_two_invocations_is_told_once() -> None:
    trial = Trial(lambda ctx: ctx.wait("w", 10))
    trial.invoke()
    trial.backend.pass_time()
    plugin, journal = Noting(), trial.journal()
    over = trial.backend.operation("w").id

    with watched(settings_of(plugin, journal), journal, invocation(over, "unknown"), "request"):
        """Nothing happens."""

    start = plugin.told[0][1]
    assert (start.request_id, start.is_first_invocation) == ("request", False)
    assert list(start.updated_operations) == [over]
    assert [hook for hook, _ in plugin.told] == ["start", "over", "end"]


def test_without_plugins_an_invocation_is_not_watched() -> None:
    journal = Journal("arn", [])

    with watched(Trial(lambda ctx: None).settings(journal), journal, invocation(), None) as watch:
        watch.output = InvocationOutput(status=InvocationStatus.PENDING)


def test_a_plugin_that_fails_is_logged_by_name() -> None:
    class Broken(DurablePlugin):
        def on_invocation_end(self, info: Any) -> None:
            raise KeyError("mine")

    found = observers(Broken())
    with Messages.of("durably") as messages:
        found.tell("on_invocation_end", None)

    (record,) = messages.records
    assert (record.plugin, record.hook) == ("Broken", "on_invocation_end")  # type: ignore[attr-defined]  # extra


@pytest.mark.parametrize("flavour", ["async", "sync"])
def test_user_code_is_told_of_in_both_drivers(flavour: str) -> None:
    told: list[str] = []

    class Following(DurablePlugin):
        def on_user_function_start(self, info: Any) -> None:
            told.append(f"start {info.name}")

        def on_user_function_end(self, info: Any) -> None:
            told.append(f"{info.outcome} {info.name}")

        def on_operation_start(self, info: Any) -> None:
            told.append(f"called {info.name}")

        def on_operation_end(self, info: Any) -> None:
            told.append(f"over {info.name}")

    async def async_handler(ctx: Any) -> None:
        await ctx.run_in_child_context("c", lambda child: child.step("s", lambda: 1))

    def handler(ctx: Any) -> None:
        ctx.run_in_child_context("c", lambda child: child.step("s", lambda: 1))

    trial = Trial(
        async_handler if flavour == "async" else handler,
        observers=lambda journal: observers_of([Following()], journal, ManualClock()),  # type: ignore[arg-type,return-value]  # there is one
    )
    trial.invoke()
    first = list(told)
    trial.invoke()

    assert first == [
        "called c",
        "start c",
        "called s",
        "start s",
        "SUCCEEDED s",
        "over s",
        "SUCCEEDED c",
        "over c",
    ]
    assert told == first
