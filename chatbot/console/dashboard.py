"""The console at /console: the state of the learning loop, and the moves of releases for those who may make them.

`overview` reads what is shown, `ReleaseMoves` makes a move. A move is confirmed on a page of its own (or, with scripts,
in a dialog), sent as a form from our own pages, and needs the scope 'release'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response

from chatbot.api.caller import Caller
from chatbot.api.schemas import StoredId
from chatbot.api.services import Services, ServicesDep
from chatbot.console.overview import read_overview
from chatbot.console.render import page
from chatbot.console.sign_in import form, reader, redirect
from shoptalk.domain import Release, Scope
from shoptalk.errors import Conflict, Forbidden, NotFound, Unauthenticated
from shoptalk.moves import RELEASE, RELEASE_MOVES_BY_HAND
from shoptalk.store.chat import releases

router = APIRouter()
LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class MoveWording:
    """The words in which a move is offered, confirmed and reported."""

    label: str
    question: str
    effect: str
    done: str
    danger: bool


MOVES: Final[Mapping[str, MoveWording]] = {
    "rollback": MoveWording(
        "Roll back",
        "Roll back {adapter}?",
        "'{alias}' goes back to {previous}. Replies being written keep the adapter they began with.",
        "Rolled back. Each API process follows within a second.",
        True,
    ),
    "promote": MoveWording(
        "Promote",
        "Promote {adapter}?",
        "'{alias}' will serve {adapter} to all customers instead of {previous}.",
        "Promoted. Each API process follows within a second.",
        False,
    ),
    "abort": MoveWording(
        "Abort",
        "Abort the release of {adapter}?",
        "{adapter} will not go live by this release. '{alias}' goes on as it is.",
        "Aborted. Nothing else changed.",
        True,
    ),
}


@router.get("/console", response_model=None)
async def console(request: Request, services: ServicesDep, moved: str | None = None) -> Response:
    """Show the whole page; it refreshes itself where scripts run."""
    caller = await reader(request)
    if caller is None:
        return redirect("/console/login")
    notice = MOVES[moved].done if moved and moved in MOVES else None
    return await _page(services, caller, "console.html", notice=notice, problem=None)


@router.get("/console/live", response_model=None)
async def live(request: Request, services: ServicesDep) -> Response:
    """Return the part of the page that changes."""
    caller = await reader(request)
    if caller is None:
        raise Unauthenticated("Sign in at /console/login.")
    return await _page(services, caller, "live.html")


@router.get("/console/releases/{release_id}/{move}", response_model=None)
async def confirm(request: Request, services: ServicesDep, release_id: StoredId, move: str) -> Response:
    """Ask for confirmation of a move."""
    caller = await reader(request)
    if caller is None:
        return redirect("/console/login")
    chosen = _chosen(move, caller)
    release = await anyio.to_thread.run_sync(_find, services, release_id)
    return page("confirm.html", release=release, name=move, move=chosen, longest=LONGEST_REASON)


@router.post("/console/releases/{release_id}/{move}", response_model=None)
async def act(request: Request, services: ServicesDep, release_id: StoredId, move: str) -> Response:
    """Move the release; the console then reports the outcome."""
    sent = await form(request)
    caller = await reader(request)
    if caller is None:
        return redirect("/console/login")
    _chosen(move, caller)
    reason = sent.get("reason", "").replace("\0", "").strip()[:LONGEST_REASON]
    try:
        await anyio.to_thread.run_sync(partial(services.releases.by_hand, move, release_id, caller.key_id, reason))
    except (Conflict, NotFound) as error:
        status = 404 if isinstance(error, NotFound) else 409
        return await _page(services, caller, "console.html", status, notice=None, problem=error.message)
    services.follower.poke()
    return redirect(f"/console?moved={move}")


async def _page(services: Services, caller: Caller, template: str, status: int = 200, **values: Any) -> Response:
    return await anyio.to_thread.run_sync(partial(_render, services, caller, template, status, values))


def _render(services: Services, caller: Caller, template: str, status: int, values: dict[str, Any]) -> Response:
    overview = read_overview(services.store, services.settings)
    return page(
        template,
        status,
        o=overview,
        settings=services.settings,
        may_release=caller.allows(Scope.RELEASE),
        moves=MOVES,
        moves_of=moves_of,
        longest=LONGEST_REASON,
        **values,
    )


def moves_of(release: Release) -> list[str]:
    """Return the moves that a person may make of a release in its state."""
    return [move for move in RELEASE_MOVES_BY_HAND if RELEASE.allows(move, release.state)]


def _chosen(move: str, caller: Caller) -> MoveWording:
    if move not in MOVES:
        raise NotFound("There is no such move.")
    if not caller.allows(Scope.RELEASE):
        raise Forbidden("The key you signed in with does not have the scope 'release'.")
    return MOVES[move]


def _find(services: Services, release_id: str) -> Release:
    with services.store.read() as conn:
        release = releases.find(conn, release_id)
    if release is None:
        raise NotFound(f"There is no release {release_id[:80]}.")
    return release
