"""Releases over HTTP: list, start, promote, abort, roll back. Illegal moves are 409."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request

from chatbot.api.auth import Caller, require
from chatbot.api.documents import KEYED, refusals
from chatbot.api.routes.registry import plain
from chatbot.api.schemas import MoveRequest, ReleaseRequest, StoredId
from chatbot.api.services import services_of
from shoptalk.domain import Scope
from shoptalk.errors import InvalidInput
from shoptalk.store.chat import releases

router = APIRouter(tags=["releases"], responses=refusals(*KEYED, 400))
Releaser = Annotated[Caller, Depends(require(Scope.RELEASE))]


@router.get("/v1/releases")
async def list_releases(
    request: Request,
    _: Annotated[Caller, Depends(require(Scope.READ))],
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """Releases with their events, what is desired and what each API process serves."""

    def read() -> dict[str, Any]:
        with services_of(request).store.read() as conn:
            return {
                "object": "list",
                "data": [plain(r) for r in releases.newest(conn, limit)],
                "events": [plain(e) for e in releases.events(conn, limit)],
                "desired": [plain(d) for d in releases.all_desired(conn)],
                "observed": [plain(o) for o in releases.all_observed(conn)],
            }

    return await anyio.to_thread.run_sync(read)


@router.post("/v1/releases", status_code=201, responses=refusals(404, 409, 413))
async def start_release(request: Request, body: ReleaseRequest, caller: Releaser) -> dict[str, Any]:
    """Open a release of an adapter under an alias (by default the shop's)."""
    services = services_of(request)
    alias = body.alias or services.settings.model_alias
    start = partial(services.releases.start, alias, body.adapter, caller.key_id)
    return plain(await anyio.to_thread.run_sync(start))


@router.post("/v1/releases/{release_id}/{move}", responses=refusals(404, 409, 413))
async def move_release(
    request: Request, release_id: StoredId, move: str, caller: Releaser, body: MoveRequest | None = None
) -> dict[str, Any]:
    """`move` is promote, abort or rollback."""
    services = services_of(request)
    moves = {
        "promote": services.releases.promote,
        "abort": services.releases.abort,
        "rollback": services.releases.rollback,
    }
    if move not in moves:
        raise InvalidInput(f"'{move[:40]}' is no move; use promote, abort or rollback", field="move")
    act = partial(moves[move], release_id, caller.key_id, body.reason if body else "")
    moved = plain(await anyio.to_thread.run_sync(act))
    services.reconciler.poke()
    return moved
