"""POST /v1/conversations: finished conversations from elsewhere, in batches; scrubbed before anything is kept."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from chatbot.api.auth import Caller, require
from chatbot.api.documents import KEYED, refusals
from chatbot.api.services import Services, services_of
from shoptalk.domain import Scope
from shoptalk.errors import IdempotencyMismatch
from shoptalk.owners import of_imports

MOST: int = 100
router = APIRouter(tags=["ingest"], responses=refusals(*KEYED, 400, 409, 413))


class Conversations(BaseModel):
    """Each as a line of a conversation file: conversation_id, customer_id, started_at, turns, metadata."""

    model_config = ConfigDict(strict=True, extra="ignore")
    conversations: list[dict[str, Any]] = Field(min_length=1, max_length=MOST)


@router.post("/v1/conversations", status_code=202)
async def import_conversations(
    request: Request,
    body: Conversations,
    caller: Annotated[Caller, Depends(require(Scope.INGEST))],
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> JSONResponse:
    """Keep up to 100 conversations for admission. Sent again they add nothing; a changed one is a new version of it.

    Each is answered by itself: new, changed, unchanged, erased (it comes after an erasure) or refused with its field.
    """
    services = services_of(request)
    work = partial(_import, services, body, caller, idempotency_key)
    answer = await anyio.to_thread.run_sync(work, limiter=services.importing)
    return JSONResponse(answer, 202)


def _import(services: Services, body: Conversations, caller: Caller, idempotency_key: str | None) -> dict[str, Any]:
    stored, digest = None, services.secrets.digest("import body", json.dumps(body.conversations, sort_keys=True))
    if idempotency_key:
        stored = "ans_imp_" + services.secrets.digest("import", f"{caller.owner}\0{idempotency_key}")[:32]
        known = services.recorder.answered(stored)
        if known is not None:
            if known[0] != digest:
                raise IdempotencyMismatch
            return dict(known[1])
    outcomes = services.imports.import_batch(body.conversations, of_imports(caller.owner))
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome["state"]] = counts.get(outcome["state"], 0) + 1
    answer = {"object": "import", "counts": counts, "conversations": outcomes}
    if stored:
        services.recorder.keep_answer(stored, digest, 202, answer)
    return answer
