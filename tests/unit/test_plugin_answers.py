"""What plugins answer: what user code runs in, fields of log records, the traces of invokes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import pytest

from durably import (
    AttemptInfo,
    DurableContext,
    DurablePlugin,
    InvocationInfo,
    PropagationInput,
    PropagationMetadata,
    RetryPresets,
    StepConfig,
    SyncDurableContext,
    current_step,
    durable_execution,
)
from durably.clients.in_memory import ARN, InMemoryClient
from durably.core.ids import hash_id
from durably.engine.facts import ChainedInvokeStarted
from durably.testing.clock import ManualClock
from tests.unit.drivers.support import Messages

ONCE = StepConfig[Any](retry_strategy=RetryPresets.none())
inside: ContextVar[str] = ContextVar("inside", default="nothing")


def invoke(
    handler: Callable[..., Any],
    *plugins: DurablePlugin,
    client: InMemoryClient | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Make one invocation of *handler*."""
    client = client or InMemoryClient()
    function = durable_execution(handler, plugins=plugins, client=client, **settings)
    answer: dict[str, Any] = function(client.event())
    return answer


class Around(DurablePlugin):
    """Notes when code is entered and left, in which thread, and with which error."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.threads: dict[str, int] = {}

    def wrap_invocation(self, info: InvocationInfo) -> AbstractContextManager[object]:
        return self.around("handler")

    def wrap_child_context_fn(self, info: AttemptInfo) -> AbstractContextManager[object]:
        return self.around(f"{info.name}")

    def wrap_operation_attempt_fn(self, info: AttemptInfo) -> AbstractContextManager[object]:
        return self.around(f"{info.name} {info.attempt}")

    def around(self, name: str) -> AbstractContextManager[None]:
        return self._around(name)

    @contextmanager
    def _around(self, name: str) -> Generator[None]:
        token = inside.set(name)
        self.heard.append(f"enter {name}")
        self.threads[name] = threading.get_ident()
        try:
            yield
        except BaseException as error:
            self.heard.append(f"{type(error).__name__} leaves {name}")
            raise
        else:
            self.heard.append(f"leave {name}")
        finally:
            inside.reset(token)


def where() -> str:
    return inside.get()


async def where_in_a_loop() -> str:
    await asyncio.sleep(0)
    return inside.get()


async def everything(_: None, ctx: DurableContext) -> list[str]:
    return [
        where(),
        await ctx.run_in_child_context("c", lambda child: child.step("s", where_in_a_loop)),
        await ctx.step("t", where),
        *(await ctx.map("m", [1], lambda _child, _item: where())).results(),
        where(),
    ]


def everything_blocking(_: None, ctx: SyncDurableContext) -> list[str]:
    return [
        where(),
        ctx.run_in_child_context("c", lambda child: child.step("s", where_in_a_loop)),
        ctx.step("t", where),
        *ctx.map("m", [1], lambda _child, _item: where()).results(),
        where(),
    ]


@pytest.mark.parametrize("handler", [everything, everything_blocking])
def test_user_code_runs_inside_of_what_a_plugin_wraps_it_in(handler: Callable[..., Any]) -> None:
    plugin = Around()

    answer = invoke(handler, plugin)

    assert answer["Result"] == '["handler","s 1","t 1","map-item-0","handler"]'
    assert plugin.heard == [
        "enter handler",
        *("enter c", "enter s 1", "leave s 1", "leave c"),
        *("enter t 1", "leave t 1"),
        *("enter map-item-0", "leave map-item-0"),
        "leave handler",
    ]
    assert where() == "nothing"


async def thread_of_a_step(_: None, ctx: DurableContext) -> int:
    return await ctx.step("s", threading.get_ident)


def thread_of_a_blocking_step(_: None, ctx: SyncDurableContext) -> int:
    return ctx.step("s", threading.get_ident)


def thread_of_a_limited_step(_: None, ctx: SyncDurableContext) -> int:
    return ctx.step("s", threading.get_ident, config=StepConfig(timeout=5))


@pytest.mark.parametrize(
    "handler", [thread_of_a_step, thread_of_a_blocking_step, thread_of_a_limited_step]
)
def test_it_is_entered_in_the_thread_that_runs_the_code(handler: Callable[..., Any]) -> None:
    plugin = Around()

    answer = invoke(handler, plugin)

    assert answer["Result"] == str(plugin.threads["s 1"])


async def giving_a_coroutine(_: None, ctx: DurableContext) -> str:
    return await ctx.step("s", lambda: where_in_a_loop())  # noqa: PLW0108 - a plain function


def giving_a_coroutine_blocking(_: None, ctx: SyncDurableContext) -> Any:
    return ctx.step("s", lambda: where_in_a_loop())  # noqa: PLW0108 - a plain function


@pytest.mark.parametrize(
    ("handler", "times"), [(giving_a_coroutine, 2), (giving_a_coroutine_blocking, 1)]
)
def test_so_does_a_coroutine_that_a_plain_function_gives(
    handler: Callable[..., Any], times: int
) -> None:
    plugin = Around()

    answer = invoke(handler, plugin)

    assert answer["Result"] == '"s 1"'
    assert plugin.heard == ["enter handler", *["enter s 1", "leave s 1"] * times, "leave handler"]


def fail() -> None:
    raise LookupError("no such order")


async def failing(_: None, ctx: DurableContext) -> None:
    await ctx.step("s", fail, config=ONCE)


def failing_blocking(_: None, ctx: SyncDurableContext) -> None:
    ctx.step("s", fail, config=ONCE)


class Swallowing(Around):
    def around(self, name: str) -> AbstractContextManager[None]:
        return _Swallowing(super().around(name))


class _Swallowing:
    def __init__(self, inner: AbstractContextManager[None]) -> None:
        self.inner = inner

    def __enter__(self) -> None:
        self.inner.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.inner.__exit__(kind, error, traceback)
        return True


@pytest.mark.parametrize("plugin", [Around(), Swallowing()], ids=["telling", "swallowing"])
@pytest.mark.parametrize("handler", [failing, failing_blocking])
def test_a_wrap_is_told_what_the_code_raises_and_cannot_swallow_it(
    handler: Callable[..., Any], plugin: Around
) -> None:
    plugin.heard.clear()

    answer = invoke(handler, plugin)

    assert answer["Status"] == "FAILED"
    assert plugin.heard[2:] == ["LookupError leaves s 1", "StepError leaves handler"]


async def waiting(_: None, ctx: DurableContext) -> None:
    await ctx.wait("w", 10)


def waiting_blocking(_: None, ctx: SyncDurableContext) -> None:
    ctx.wait("w", 10)


@pytest.mark.parametrize(
    ("handler", "signal"), [(waiting, "CancelledError"), (waiting_blocking, "InvocationSuspended")]
)
def test_a_wrap_cannot_keep_an_invocation_from_ending(
    handler: Callable[..., Any], signal: str
) -> None:
    plugin = Swallowing()

    answer = invoke(handler, plugin, client=InMemoryClient(clock=ManualClock()))

    assert answer == {"Status": "PENDING"}
    assert plugin.heard == ["enter handler", f"{signal} leaves handler"]


class Reraising:
    """A context manager that raises what it is told, as a careless one does."""

    def __enter__(self) -> None:
        """Enter."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            raise error


class FailsToEnter(Reraising):
    def __enter__(self) -> None:
        raise OSError("no way in")


class FailsToLeave(Reraising):
    def __exit__(self, *_: object) -> None:
        raise OSError("no way out")


class Giving(DurablePlugin):
    """Wraps everything in what *make* gives."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def wrap_invocation(self, info: InvocationInfo) -> Any:
        return self.make()

    wrap_child_context_fn = wrap_operation_attempt_fn = wrap_invocation  # type: ignore[assignment]  # the info is not looked at


def raise_at_once() -> None:
    raise OSError("no way")


@pytest.fixture
def messages() -> Iterator[Messages]:
    with Messages.of("durably") as messages:
        yield messages


def reported(messages: Messages) -> list[tuple[str, str]]:
    return [(vars(record)["plugin"], vars(record)["hook"]) for record in messages.records]


@pytest.mark.parametrize(
    "make", [raise_at_once, FailsToEnter, FailsToLeave, object], ids=lambda make: make.__name__
)
@pytest.mark.parametrize("handler", [everything, everything_blocking])
def test_a_wrap_that_fails_is_logged_and_changes_nothing(
    handler: Callable[..., Any], make: Callable[[], Any], messages: Messages
) -> None:
    around = Around()

    answer = invoke(handler, Giving(make), around, Giving(make))

    assert answer["Result"] == '["handler","s 1","t 1","map-item-0","handler"]'
    assert len(around.heard) == 10
    assert reported(messages).count(("Giving", "wrap_invocation")) == 2
    assert reported(messages).count(("Giving", "wrap_child_context_fn")) == 4
    assert reported(messages).count(("Giving", "wrap_operation_attempt_fn")) == 4


@pytest.mark.parametrize("handler", [waiting, waiting_blocking, failing, failing_blocking])
def test_a_wrap_that_raises_again_what_it_is_told_has_not_failed(
    handler: Callable[..., Any], messages: Messages
) -> None:
    around = Around()
    client = InMemoryClient(clock=ManualClock())

    invoke(handler, around, Giving(Reraising), Giving(lambda: None), client=client)

    assert around.heard[-1].endswith(" leaves handler")
    assert reported(messages) == []


@pytest.mark.parametrize("handler", [waiting, waiting_blocking])
def test_a_wrap_that_ends_the_process_is_not_held_up(handler: Callable[..., Any]) -> None:
    class Leaving(Reraising):
        def __exit__(self, *_: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        invoke(handler, Giving(Leaving), client=InMemoryClient(clock=ManualClock()))


# Fields of log records


class Enriching(DurablePlugin):
    """Adds fields to log records."""

    def __init__(self, give: Callable[[Mapping[str, Any]], Any]) -> None:
        self.give = give

    def enrich_log_context(self, fields: Mapping[str, Any]) -> Any:
        return self.give(fields)


def say(text: str) -> None:
    current_step().logger.warning(text, extra={"mine": 1})


async def saying(_: None, ctx: DurableContext) -> None:
    ctx.logger.info("from the handler")
    await ctx.step("s", say, "from the step")


def saying_blocking(_: None, ctx: SyncDurableContext) -> None:
    ctx.logger.info("from the handler")
    ctx.step("s", say, "from the step")


@pytest.fixture
def lines() -> Iterator[Messages]:
    logging.getLogger("orders").setLevel(logging.INFO)
    with Messages.of("orders") as messages:
        yield messages


ORDERS = logging.getLogger("orders")


@pytest.mark.parametrize("handler", [saying, saying_blocking])
def test_a_plugin_adds_fields_to_what_is_logged(
    handler: Callable[..., Any], lines: Messages
) -> None:
    asked: list[Mapping[str, Any]] = []

    def give(fields: Mapping[str, Any]) -> dict[str, str]:
        asked.append(dict(fields))
        return {"traceId": inside.get(), "executionArn": "another", "mine": "another"}

    invoke(handler, Around(), Enriching(give), Enriching(lambda _: None), logger=ORDERS)

    first, second = (vars(record) for record in lines.records)
    assert (first["traceId"], first["executionArn"]) == ("handler", ARN)
    assert (second["traceId"], second["mine"], second["operationName"]) == ("s 1", 1, "s")
    assert [fields.get("attempt") for fields in asked] == [None, 1]


def test_a_plugin_is_not_asked_for_what_is_not_written(lines: Messages) -> None:
    def handler(_: None, ctx: SyncDurableContext) -> None:
        ctx.logger.debug("nobody reads this")

    invoke(handler, Enriching(lambda _: pytest.fail("asked")), logger=ORDERS)

    assert lines.records == []


@pytest.mark.parametrize(
    "given", [{"message": "x"}, {"name": "x"}, {3: "x"}, 7, "text"], ids=lambda given: f"{given}"
)
def test_fields_that_a_record_cannot_have_are_left_out_and_logged(
    given: Any, lines: Messages, messages: Messages
) -> None:
    enriching = Enriching(lambda _: {"traceId": "t"})

    answer = invoke(saying_blocking, Enriching(lambda _: given), enriching, logger=ORDERS)

    assert answer["Status"] == "SUCCEEDED"
    assert [vars(record)["traceId"] for record in lines.records] == ["t", "t"]
    assert reported(messages) == [("Enriching", "enrich_log_context")] * 2


# The traces of invokes


class Tracing(DurablePlugin):
    """Gives invokes a trace."""

    def __init__(self, trace: Any) -> None:
        self.trace = trace
        self.asked: list[PropagationInput] = []

    def provide_propagation_metadata(self, info: PropagationInput) -> Any:
        self.asked.append(info)
        return self.trace and PropagationMetadata(x_amzn_trace_id=self.trace)


async def invoking(_: None, ctx: DurableContext) -> None:
    async def body(child: DurableContext) -> None:
        await child.invoke("i", "score", 1)
        await child.wait("w", 10)

    await ctx.run_in_child_context("c", body)


def invoking_blocking(_: None, ctx: SyncDurableContext) -> None:
    def body(child: SyncDurableContext) -> None:
        child.invoke("i", "score", 1)
        child.wait("w", 10)

    ctx.run_in_child_context("c", body)


def trace_sent(client: InMemoryClient) -> str | None:
    (fact,) = [fact for fact in client.facts if isinstance(fact, ChainedInvokeStarted)]
    return fact.trace_id


@pytest.mark.parametrize("handler", [invoking, invoking_blocking])
def test_the_first_trace_that_a_plugin_gives_goes_with_an_invoke_once(
    handler: Callable[..., Any],
) -> None:
    client = InMemoryClient(clock=ManualClock())
    plugins = [Tracing(None), Tracing(" "), Tracing("Root=1-2-3"), Tracing("Root=4-5-6")]

    invoke(handler, *plugins, client=client)
    invoke(handler, *plugins, client=client)

    assert trace_sent(client) == "Root=1-2-3"
    assert plugins[0].asked == [
        PropagationInput(
            execution_arn=ARN,
            operation_id=hash_id("1-1"),
            target_function_name="score",
            parent_operation_id=hash_id("1"),
        )
    ]


@pytest.mark.parametrize(
    "trace",
    [7, b"x", "x" * 8193, "\ud800", "Root=1\n", "Root=1 "],
    ids=lambda trace: f"{trace!a:.9}",
)
def test_what_is_no_trace_is_left_out_and_logged(trace: Any, messages: Messages) -> None:
    client = InMemoryClient(clock=ManualClock())

    answer = invoke(invoking_blocking, Tracing(trace), client=client)

    assert answer == {"Status": "PENDING"}
    assert trace_sent(client) is None
    assert reported(messages) == [("Tracing", "provide_propagation_metadata")]
