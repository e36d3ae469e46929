"""The routes of releases: list, start, promote, abort, roll back. Illegal moves are answered 409.

What a move does is in `chatbot.release.moves`, which state allows it in `shoptalk.moves`.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query

from chatbot.api.auth import require
from chatbot.api.caller import Caller
from chatbot.api.openapi import KEYED, refusals
from chatbot.api.schemas import MoveRequest, ReleaseRequest, StoredId
from chatbot.api.services import ServicesDep
from chatbot.api.stored_answers import (
    DesiredAnswer,
    ObservedAnswer,
    ReleaseAnswer,
    ReleaseEventAnswer,
    ReleaseListAnswer,
)
from shoptalk.domain import ReleaseState, Scope
from shoptalk.store.chat import releases

router = APIRouter(tags=["releases"], responses=refusals(*KEYED, 400))
ROLL_OUT_S = 10.0  # that a request waits for
Releaser = Annotated[Caller, require(Scope.RELEASE)]


@router.get("/v1/releases")
async def list_releases(
    services: ServicesDep,
    _: Annotated[Caller, require(Scope.READ)],
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> ReleaseListAnswer:
    """List releases with their events, what is desired and what each API process serves."""

    def read() -> ReleaseListAnswer:
        with services.store.read() as conn:
            return ReleaseListAnswer(
                data=[ReleaseAnswer.model_validate(r) for r in releases.newest(conn, limit)],
                events=[ReleaseEventAnswer.model_validate(e) for e in releases.events(conn, limit)],
                desired=[DesiredAnswer.model_validate(d) for d in releases.all_desired(conn)],
                observed=[ObservedAnswer.model_validate(o) for o in releases.all_observed(conn)],
            )

    return await anyio.to_thread.run_sync(read)


@router.post("/v1/releases", status_code=201, responses=refusals(404, 409, 413))
async def start_release(services: ServicesDep, body: ReleaseRequest, caller: Releaser) -> ReleaseAnswer:
    """Open a release of an adapter under an alias (by default the shop's)."""
    alias = body.alias or services.settings.model_alias
    start = partial(services.releases.start, alias, body.adapter, caller.key_id)
    return ReleaseAnswer.model_validate(await anyio.to_thread.run_sync(start))


@router.post("/v1/releases/{release_id}/{move}", responses=refusals(404, 409, 413))
async def move_release(
    services: ServicesDep, release_id: StoredId, move: str, caller: Releaser, body: MoveRequest | None = None
) -> ReleaseAnswer:
    """Promote, abort or roll back a release; `move` is promote, abort or rollback.

    A promoted release is `live` once every API process serves it, `failed` where one refuses it. That is waited for,
    but only for some seconds; after them it is `rolling_out`.
    """
    act = partial(services.releases.by_hand, move, release_id, caller.key_id, body.reason if body else "")
    moved = await anyio.to_thread.run_sync(act)
    services.follower.poke()
    if moved.state is ReleaseState.ROLLING_OUT:
        moved = await anyio.to_thread.run_sync(services.releases.settled, release_id, ROLL_OUT_S)
    return ReleaseAnswer.model_validate(moved)
