"""POST /v1/conversations: finished conversations from elsewhere, in batches, scrubbed before anything is kept.

What becomes of each is decided by `shoptalk.ports.Imports`.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field

from chatbot.api.answers import ImportAnswer
from chatbot.api.auth import require
from chatbot.api.caller import Caller
from chatbot.api.idempotency import import_request
from chatbot.api.openapi import KEYED, refusals
from chatbot.api.services import Services, ServicesDep
from shoptalk.domain import Scope
from shoptalk.owners import of_imports

MOST: int = 100
router = APIRouter(tags=["ingest"], responses=refusals(*KEYED, 400, 409, 413))


class Conversations(BaseModel):
    """The body of POST /v1/conversations.

    Each conversation is as a line of a conversation file: conversation_id, customer_id, started_at, turns, metadata.
    """

    model_config = ConfigDict(strict=True, extra="ignore")
    conversations: list[dict[str, Any]] = Field(min_length=1, max_length=MOST)


@router.post("/v1/conversations", status_code=202)
async def import_conversations(
    services: ServicesDep,
    body: Conversations,
    caller: Annotated[Caller, require(Scope.INGEST)],
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> ImportAnswer:
    """Keep up to 100 conversations for admission. Sent again they add nothing; a changed one is a new version of it.

    Each is answered by itself: new, changed, unchanged, erased (it comes after an erasure) or refused with its field.
    """
    work = partial(_import, services, body, caller, idempotency_key)
    return await anyio.to_thread.run_sync(work, limiter=services.importing)


def _import(services: Services, body: Conversations, caller: Caller, idempotency_key: str | None) -> ImportAnswer:
    repeatable = None
    if idempotency_key:
        repeatable = import_request(services.secrets, caller, idempotency_key, body.conversations)
        if earlier := services.recorder.answers.earlier(repeatable):
            return ImportAnswer.model_validate(earlier)
    outcomes = services.imports.import_batch(body.conversations, of_imports(caller.owner))
    counts = Counter(outcome["state"] for outcome in outcomes)
    answer = {"object": "import", "counts": counts, "conversations": outcomes}
    if repeatable:
        services.recorder.answers.keep(repeatable, 202, answer)
    return ImportAnswer.model_validate(answer)
