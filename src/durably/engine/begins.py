"""How an invocation begins under a claim, and how a claim is given back."""

from __future__ import annotations

import logging
from contextlib import suppress

from durably.engine.commands import BeginInvocation, FailInvocation, Surroundings
from durably.engine.journals import Journals
from durably.engine.pins import pin_latest
from durably.engine.rules import UNRECORDED
from durably.engine.sessions import Session
from durably.engine.store import Claim, VersionConflict
from durably.engine.tips import Tip
from durably.errors import ResourceNotFoundException
from durably.wire.arns import title_of

log = logging.getLogger("durably.engine")


async def begin_session(
    journals: Journals,
    claim: Claim,
    command: BeginInvocation,
    token: str,
    surroundings: Surroundings,
) -> Session | None:
    """Begin an invocation under *claim*, if one is owed; otherwise give the claim up.

    That it has begun is written with its first checkpoint: the claim is durable already, and if
    nothing more comes, whoever takes it over is told of a lost invocation. All else that it is
    told of is durable.

    Raises:
        VersionConflict: the claim does not stand any more.
    """
    while True:
        tip = await pin_latest(journals, claim.arn)
        try:
            _end_earlier(tip)
            await journals.ask_tip(tip, command, claim.epoch, is_soon=True)
            await tip.settle()
            invocation = tip.execution.invocation
            if invocation is None or invocation.epoch != claim.epoch:
                _log_damage(tip)
                return None
            session = Session(journals, tip, command, token, surroundings)
            journals.open_session(tip, session)
        except VersionConflict:
            if not await journals.is_claimed_under(claim.arn, claim.epoch):
                raise
        else:
            return session
        finally:
            journals.unpin(tip)


def _log_damage(tip: Tip) -> None:
    execution = tip.execution
    if execution.damage is not None:
        arn = execution.arn
        log.error("%s was parked: %s", title_of(arn), execution.damage, extra={"executionArn": arn})


async def give_back(journals: Journals, claim: Claim, request_id: str | None) -> None:
    """Give up a claim without an answer; it is due again at once.

    Args:
        journals: of the process whose claim it is.
        claim: the claim.
        request_id: of the invocation that ran under it, if one did.

    Raises:
        StoreError: it could not be written; the claim stands.
    """
    command = FailInvocation.lost(claim.epoch, request_id, UNRECORDED)
    with suppress(ResourceNotFoundException, VersionConflict):  # it is gone, or somebody else's
        await journals.ask(claim.arn, command, claim.epoch)


def _end_earlier(tip: Tip) -> None:
    """End an invocation that still runs here though its lease ran out: this claim counts."""
    if tip.session is not None:
        tip.session.release()
        tip.session = None
