"""The routes of rounds: list and show them, ask for one, cancel one, or let it learn from the labels that are there."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query

from chatbot.api.answers import ListAnswer
from chatbot.api.auth import require
from chatbot.api.caller import Caller
from chatbot.api.openapi import KEYED, refusals
from chatbot.api.schemas import RoundRequest, StoredId
from chatbot.api.services import ServicesDep
from chatbot.api.stored_answers import RoundAnswer, RoundDetailAnswer, TriggerAnswer
from shoptalk.domain import Scope
from shoptalk.errors import NotFound
from shoptalk.rounds.control import RoundControl
from shoptalk.store import rounds, triggers

router = APIRouter(tags=["rounds"], responses=refusals(*KEYED, 400))
Reader = Annotated[Caller, require(Scope.READ)]
Releaser = Annotated[Caller, require(Scope.RELEASE)]


@router.get("/v1/rounds")
async def list_rounds(
    services: ServicesDep, _: Reader, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> ListAnswer[RoundAnswer]:
    """List rounds of learning, newest first."""

    def read() -> ListAnswer[RoundAnswer]:
        with services.store.read() as conn:
            return ListAnswer(data=[RoundAnswer.model_validate(item) for item in rounds.newest(conn, limit)])

    return await anyio.to_thread.run_sync(read)


@router.get("/v1/rounds/{round_id}", responses=refusals(404))
async def show_round(services: ServicesDep, round_id: StoredId, _: Reader) -> RoundDetailAnswer:
    """Show a round: why it was started, and what its steps left."""

    def read() -> RoundDetailAnswer:
        with services.store.read() as conn:
            found = rounds.find(conn, round_id)
            if found is None:
                raise NotFound(f"There is no round {round_id[:80]}.")
            return RoundDetailAnswer(
                round=RoundAnswer.model_validate(found),
                triggers=[TriggerAnswer.model_validate(item) for item in triggers.of_round(conn, round_id)],
                steps=rounds.results(conn, round_id),
            )

    return await anyio.to_thread.run_sync(read)


@router.post("/v1/rounds", status_code=201, responses=refusals(413))
async def start_round(services: ServicesDep, body: RoundRequest, _: Releaser) -> TriggerAnswer:
    """Ask for a round. Where one waits for labels, the request joins it; where one waits already, that is returned."""
    ask = partial(RoundControl(services.store).start, body.reason or "asked for")
    return TriggerAnswer.model_validate(await anyio.to_thread.run_sync(ask))


@router.post("/v1/rounds/{round_id}/{move}", responses=refusals(404, 409, 413))
async def move_round(services: ServicesDep, round_id: StoredId, move: str, caller: Releaser) -> RoundAnswer:
    """Cancel a round, or let it wait for no more labels; `move` is cancel or learn-now."""
    act = partial(RoundControl(services.store).move, move, round_id, caller.key_id)
    return RoundAnswer.model_validate(await anyio.to_thread.run_sync(act))
