"""POST /v1/feedback: what customers say of replies. Words pass the scrubber before they are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

import anyio.from_thread
import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response

from chatbot.api.auth import Caller, require
from chatbot.api.documents import KEYED, refusals
from chatbot.api.limits.admission import admission_of
from chatbot.api.prepare import check_room
from chatbot.api.schemas import FeedbackRequest
from chatbot.api.services import Services, services_of
from shoptalk.domain import Message, Scope, new_id
from shoptalk.errors import NotFound, ScrubbingFailed, ScrubbingTimedOut
from shoptalk.store.chat import chats, inferences
from shoptalk.store.conversation_ids import stored_id

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

    def ended() -> None:
        customer = caller.customer
        anyio.from_thread.run_sync(
            lambda: services.limits.penalize(admission_of(request), key_id=caller.key_id, customer=customer)
        )

    answer = await services.preparing[caller.lane].run(lambda: _take(services, body, caller, ended))
    response.status_code = 202 if answer["pending"] else 201
    return answer


def _take(services: Services, body: FeedbackRequest, caller: Caller, ended: Callable[[], None]) -> dict[str, Any]:
    """`ended` is called where scrubbing the words was ended at its deadline."""
    conversation = _conversation(services, body, caller)
    id, idempotency = new_id("fbk"), None
    if body.idempotency_key:
        key = services.secrets.digest("feedback", f"{caller.idempotency}\0{body.idempotency_key}")
        id, idempotency = f"fbk_{key[:32]}", (f"ans_fbk_{key[:32]}", _body_hash(services, body))
    words, pii = _scrubbed(services, body.words, ended)
    payload: dict[str, Any] = {
        "id": id,
        "inference_id": body.inference_id,
        "metric": body.metric,
        "value": body.number,
        "comment": words,
        "pii": pii,
        "at": services.store.now().isoformat(),
    }
    customer = None if caller.customer is None else services.secrets.customer(caller.customer)
    if conversation is None:
        payload["caller"] = {"owner": caller.owner, "customer": customer}
    else:
        customer = conversation.customer
    about = str(body.inference_id) if conversation is None else conversation.id
    new = services.recorder.feedback(id, about, customer, payload, idempotency)
    return {"id": id, "object": "feedback", "recorded": new, "pending": conversation is None}


def _body_hash(services: Services, body: FeedbackRequest) -> str:
    return services.secrets.digest("feedback body", body.model_dump_json())


def _conversation(services: Services, body: FeedbackRequest, caller: Caller) -> chats.Opened | None:
    """The conversation that the feedback is about; raises NotFound where the caller has no such conversation.

    None where the caller has no such reply yet: one that is another's is answered as one that nobody has.
    """
    with services.store.read() as conn:
        if body.conversation_id is not None:
            conversation = stored_id(conn, services.secrets, body.conversation_id, caller.owner)
        else:
            known = inferences.find(conn, str(body.inference_id))
            conversation = known.conversation_id if known else ""
        opened = chats.find(conn, conversation)
    if opened is not None and opened.owner == caller.owner:
        return opened
    if body.conversation_id is not None:
        raise NotFound("There is no such conversation for this API key.")
    if not INFERENCE.fullmatch(str(body.inference_id)):
        raise NotFound("There is no such inference; send the id of a chat completion.")
    return None


def _scrubbed(services: Services, words: str | None, ended: Callable[[], None]) -> tuple[str | None, dict[str, int]]:
    if not words:
        return None, {}
    try:
        scrubbed = services.scrubber.scrub([Message("user", words)])
    except ScrubbingFailed as error:
        services.metrics.scrub_failures.labels(error.message[:60]).inc()
        if isinstance(error, ScrubbingTimedOut):
            ended()
        return None, {}
    return scrubbed.final[0], dict(scrubbed.counts[0])
