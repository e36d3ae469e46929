"""POST /v1/feedback: what customers say of replies. Words pass the scrubber before they are kept."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response

from chatbot.api.auth import Caller, require
from chatbot.api.documents import KEYED, refusals
from chatbot.api.limits.admission import admission_of
from chatbot.api.prepare import check_room
from chatbot.api.schemas import FeedbackRequest
from chatbot.api.services import Services, services_of
from shoptalk.domain import Message, Scope, new_id, now
from shoptalk.errors import NotFound, ScrubbingFailed
from shoptalk.store import chats, inferences

INFERENCE: Final = re.compile(r"inf_[0-9a-f]{32}")
router = APIRouter(tags=["feedback"], responses=refusals(*KEYED, 400, 404, 409, 413))


@router.post("/v1/feedback", status_code=201, responses={202: {"description": "Kept until its reply is stored."}})
async def give_feedback(
    request: Request,
    response: Response,
    body: FeedbackRequest,
    caller: Annotated[Caller, Depends(require(Scope.FEEDBACK))],
) -> dict[str, Any]:
    """Record a thumb (0 or 1), rating (1 to 5), resolved (0 or 1) or correction (a better reply).

    About a reply that is still under way it is kept too, answered 202, and counted once the reply is stored.
    """
    services = services_of(request)
    check_room(services, caller.lane, admission_of(request).address)
    answer = await anyio.to_thread.run_sync(_take, services, body, caller, limiter=services.preparing[caller.lane])
    response.status_code = 202 if answer["pending"] else 201
    return answer


def _take(services: Services, body: FeedbackRequest, caller: Caller) -> dict[str, Any]:
    conversation = _conversation(services, body, caller)
    id, idempotency = new_id("fbk"), None
    if body.idempotency_key:
        whose = f"{caller.key_id}\0{caller.customer or ''}"
        key = services.secrets.digest("feedback", f"{whose}\0{body.idempotency_key}")
        id, idempotency = f"fbk_{key[:32]}", (f"ans_fbk_{key[:32]}", _body_hash(services, body))
    words, pii = _scrubbed(services, body.words)
    payload: dict[str, Any] = {
        "id": id,
        "inference_id": body.inference_id,
        "metric": body.metric,
        "value": body.number,
        "comment": words,
        "pii": pii,
        "at": now().isoformat(),
    }
    if conversation is None:
        customer = None if caller.customer is None else services.secrets.customer(caller.customer)
        payload["caller"] = {"key_id": caller.key_id, "customer": customer}
    new = services.recorder.feedback(id, conversation or str(body.inference_id), payload, idempotency)
    return {"id": id, "object": "feedback", "recorded": new, "pending": conversation is None}


def _body_hash(services: Services, body: FeedbackRequest) -> str:
    return services.secrets.digest("feedback body", body.model_dump_json())


def _conversation(services: Services, body: FeedbackRequest, caller: Caller) -> str | None:
    """The conversation the feedback is about, None where its reply is not stored yet; raises NotFound for another's."""
    with services.store.read() as conn:
        if body.conversation_id is not None:
            conversation = services.secrets.conversation(body.conversation_id)
        elif body.inference_id is not None and (known := inferences.find(conn, body.inference_id)):
            conversation = known.conversation_id
        elif body.inference_id is not None and INFERENCE.fullmatch(body.inference_id):
            return None
        else:
            raise NotFound("There is no such inference; send the id of a chat completion.")
        opened = chats.find(conn, conversation)
    if opened is None or opened.key_id != caller.key_id:
        raise NotFound("There is no such conversation for this API key.")
    if caller.customer is not None and opened.customer != services.secrets.customer(caller.customer):
        raise NotFound("There is no such conversation for this customer.")
    return conversation


def _scrubbed(services: Services, words: str | None) -> tuple[str | None, dict[str, int]]:
    if not words:
        return None, {}
    try:
        scrubbed = services.scrubber.scrub([Message("user", words)])
    except ScrubbingFailed as error:
        services.metrics.scrub_failures.labels(error.message[:60]).inc()
        return None, {}
    return scrubbed.final[0], dict(scrubbed.counts[0])
