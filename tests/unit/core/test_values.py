from typing import Any

import pytest

from durably.core.operations.values import seal, unseal, within_limit, write
from durably.errors import (
    RetryableSerdesError,
    SerdesError,
    TerminationReason,
    UnrecoverableExecutionError,
    UnrecoverableInvocationError,
)
from durably.serdes import JsonSerdes, PassThroughSerdes
from tests.unit.core.support import STEP, journal_of

JOURNAL = journal_of()


class Raising:
    """A serdes of the user's that fails in its own way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def serialize(self, value: object, context: object, /) -> str:
        raise self.error

    def deserialize(self, text: str, context: object, /) -> Any:
        raise self.error


def test_a_value_is_given_as_it_will_be_read() -> None:
    assert seal(JsonSerdes(), (1, 2), STEP, JOURNAL) == ("[1,2]", [1, 2])


def test_a_serdes_is_told_whose_value_it_is() -> None:
    seen: list[Any] = []

    class Curious(Raising):
        def serialize(self, value: object, context: object, /) -> str:
            seen.append(context)
            return ""

    write(Curious(ValueError()), 1, STEP, JOURNAL)

    assert (seen[0].entity_id, seen[0].durable_execution_arn) == ("1", JOURNAL.arn)


def test_what_is_sent_out_is_written_and_not_read() -> None:
    assert write(JsonSerdes(), {"a": 1}, STEP, JOURNAL) == '{"a":1}'


@pytest.mark.parametrize("use", [seal, write])
def test_a_serdes_error_says_what_it_wants_to(use: Any) -> None:
    with pytest.raises(SerdesError, match=r"^mine$"):
        use(Raising(SerdesError("mine")), 1, STEP, JOURNAL)


@pytest.mark.parametrize("use", [seal, write])
def test_any_other_failure_to_write_is_a_serdes_error_that_names_the_operation(use: Any) -> None:
    with pytest.raises(SerdesError, match=r"work cannot be .*: KeyError: 'k'"):
        use(Raising(KeyError("k")), 1, STEP, JOURNAL)


@pytest.mark.parametrize("use", [seal, write])
def test_text_that_cannot_be_stored_is_a_serdes_error(use: Any) -> None:
    with pytest.raises(SerdesError):
        use(PassThroughSerdes(), "\ud800", STEP, JOURNAL)


@pytest.mark.parametrize("use", [seal, write, unseal])
def test_a_serdes_may_ask_for_the_invocation_to_be_tried_again(use: Any) -> None:
    with pytest.raises(UnrecoverableInvocationError, match="asks to be tried again") as error:
        use(Raising(RetryableSerdesError("later")), "text", STEP, JOURNAL)

    assert error.value.reason is TerminationReason.SERDES_FAILED


@pytest.mark.parametrize("use", [seal, write, unseal])
def test_a_serdes_may_end_the_execution(use: Any) -> None:
    end = UnrecoverableExecutionError(TerminationReason.CUSTOM, "the end")

    with pytest.raises(UnrecoverableExecutionError, match="the end"):
        use(Raising(end), "text", STEP, JOURNAL)


def test_a_record_that_cannot_be_read_fails_the_execution() -> None:
    with pytest.raises(UnrecoverableExecutionError, match="the record of work cannot be read"):
        unseal(JsonSerdes(), "{", STEP, JOURNAL)


def test_nothing_recorded_reads_as_none() -> None:
    assert unseal(Raising(ValueError()), None, STEP, JOURNAL) is None


def test_what_is_recorded_is_measured_in_bytes_and_has_a_limit() -> None:
    assert within_limit("x" * 1_048_576, STEP) == "x" * 1_048_576

    with pytest.raises(SerdesError, match="1048577 bytes; 1048576 are allowed"):
        within_limit("x" * 1_048_577, STEP)
    with pytest.raises(SerdesError, match="1200000 bytes"):
        within_limit("\u00fc" * 600_000, STEP)
