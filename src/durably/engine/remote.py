"""Functions that run elsewhere: they come with a token, and leave with the next one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from durably.engine.commands import Checkpoint, Surroundings
from durably.engine.execution import Execution, LastCheckpoint, changed_since
from durably.engine.history import page_size
from durably.engine.journals import Journals
from durably.engine.paging import page_of, state_page
from durably.engine.rules import INVALID_TOKEN
from durably.engine.sharing import look_around
from durably.engine.store import VersionConflict
from durably.engine.tokens import TokenParts, seal_token, unseal_token
from durably.errors import InvalidParameterValueException, ResourceNotFoundException
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.invocation import ExecutionState


async def remote_checkpoint(
    journals: Journals,
    keys: Sequence[bytes],
    surroundings: Surroundings,
    request: CheckpointRequest,
) -> CheckpointResponse:
    """Accept a checkpoint by its token.

    Raises:
        InvalidParameterValueException: the token is not the current one, or an update is not
            legal. Nothing was recorded.
    """
    arn = request.durable_execution_arn
    parts = unseal_token(keys, arn, request.checkpoint_token)
    await look_around(surroundings, request.updates)
    command = Checkpoint(
        parts.epoch, request.updates, surroundings, parts.sequence, request.client_token
    )
    try:
        async with _at_hand(journals, arn):
            last = (await journals.ask(arn, command, parts.epoch)).last_checkpoint
            assert last is not None, "the checkpoint has just been accepted"
            async with _settled(journals, arn) as execution:
                return _reply(keys, arn, execution, parts.epoch, last)
    except (ResourceNotFoundException, VersionConflict) as error:
        raise InvalidParameterValueException(INVALID_TOKEN) from error


@asynccontextmanager
async def _at_hand(journals: Journals, arn: str) -> AsyncGenerator[None]:
    """Have an execution be read once, however often it is asked for."""
    tip = await journals.pin(arn)
    try:
        yield
    finally:
        journals.unpin(tip)


@asynccontextmanager
async def _settled(journals: Journals, arn: str) -> AsyncGenerator[Execution]:
    """Give an execution of which all that may be told is durable."""
    while True:
        tip = await journals.pin(arn)
        try:
            if await journals.drop_if_outdated(tip):
                continue
            yield tip.execution
            return
        finally:
            journals.unpin(tip)


def _reply(
    keys: Sequence[bytes], arn: str, execution: Execution, epoch: int, last: LastCheckpoint
) -> CheckpointResponse:
    """Tell what has changed since the reply before.

    A reply that got lost is not stored but made again: it may tell more by then, never less.
    """
    operations = changed_since(execution, last.told_before)
    page = page_of(operations)
    has_more = page < len(operations)
    state = ExecutionState(
        operations=operations[:page],
        next_marker=str(execution.places[operations[page].id]) if has_more else None,
    )
    if not execution.is_listening:
        return CheckpointResponse(new_execution_state=state)
    token = seal_token(keys, arn, TokenParts(epoch, last.sequence))
    return CheckpointResponse(checkpoint_token=token, new_execution_state=state)


async def remote_state(
    journals: Journals, keys: Sequence[bytes], request: GetExecutionStateRequest
) -> GetExecutionStateResponse:
    """Give one page of the state by a token, which stays good.

    Raises:
        InvalidParameterValueException: the token is not the current one.
    """
    arn = request.durable_execution_arn
    parts = unseal_token(keys, arn, request.checkpoint_token)
    limit = page_size(request.max_items)
    try:
        async with _settled(journals, arn) as execution:
            invocation = execution.invocation
            held = None if invocation is None else TokenParts(invocation.epoch, invocation.sequence)
            if held != parts:
                raise InvalidParameterValueException(INVALID_TOKEN)
            return state_page(execution, request.marker, limit)
    except (ResourceNotFoundException, VersionConflict) as error:
        raise InvalidParameterValueException(INVALID_TOKEN) from error
