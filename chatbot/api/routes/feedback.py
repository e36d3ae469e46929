"""POST /v1/feedback: customers' judgements of replies. Words pass the scrubber before they are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final

import anyio.from_thread
import anyio.to_thread
from fastapi import APIRouter, Request, Response

from chatbot.api.answers import FeedbackAnswer
from chatbot.api.auth import require
from chatbot.api.caller import Caller
from chatbot.api.idempotency import feedback_id, feedback_request
from chatbot.api.limits.admission import admission_of
from chatbot.api.openapi import KEYED, answer, refusals
from chatbot.api.prepare import check_room
from chatbot.api.schemas import FeedbackRequest
from chatbot.api.services import Services, ServicesDep
from shoptalk.domain import Message, Scope, new_id
from shoptalk.errors import NotFound, ScrubbingFailed, ScrubbingTimedOut
from shoptalk.events import FeedbackReceived, FeedbackSender
from shoptalk.store.chat import chats, inferences
from shoptalk.store.conversation_ids import stored_id

INFERENCE: Final = re.compile(r"inf_[0-9a-f]{32}")
router = APIRouter(tags=["feedback"], responses=refusals(*KEYED, 400, 404, 409, 413))


@router.post("/v1/feedback", status_code=201, responses=answer(202, FeedbackAnswer, "Kept until its reply is stored."))
async def give_feedback(
    request: Request,
    response: Response,
    services: ServicesDep,
    body: FeedbackRequest,
    caller: Annotated[Caller, require(Scope.FEEDBACK)],
) -> FeedbackAnswer:
    """Record a thumb (0 or 1), rating (1 to 5), resolved (0 or 1) or correction (a better reply).

    About a reply that is still under way it is kept too, answered 202, and counted once the reply is stored.
    """
    check_room(services, caller.lane, admission_of(request).address)

    def ended() -> None:
        customer = caller.customer
        anyio.from_thread.run_sync(
            lambda: services.limits.penalize(admission_of(request), key_id=caller.key_id, customer=customer)
        )

    taken = await services.preparing[caller.lane].run(lambda: _take(services, body, caller, ended))
    response.status_code = 202 if taken.pending else 201
    return taken


def _take(services: Services, body: FeedbackRequest, caller: Caller, ended: Callable[[], None]) -> FeedbackAnswer:
    """Scrub and record feedback; call `ended` where scrubbing its words reached the deadline."""
    conversation = _conversation(services, body, caller)
    id, repeatable = new_id("fbk"), None
    if body.idempotency_key:
        repeatable = feedback_request(services.secrets, caller, body.idempotency_key, body)
        id = feedback_id(repeatable)
    words, pii = _scrubbed(services, body.words, ended)
    sender: FeedbackSender | None = None
    about = str(body.inference_id)
    customer = None if caller.customer is None else services.secrets.customer(caller.customer)
    if conversation is None:
        sender = FeedbackSender(owner=caller.owner, customer=customer)
    else:
        customer, about = conversation.customer, conversation.id
    received = FeedbackReceived(
        id=id,
        inference_id=body.inference_id,
        metric=body.metric,
        value=body.number,
        comment=words,
        pii=pii,
        at=services.store.now(),
        scrubber=services.scrubber.version,
        caller=sender,
    )
    new = services.recorder.feedback(received, about, customer, repeatable)
    return FeedbackAnswer(id=id, recorded=new, pending=conversation is None)


def _conversation(services: Services, body: FeedbackRequest, caller: Caller) -> chats.StoredConversation | None:
    """Return the conversation that the feedback is about. Raises NotFound where the caller has no such conversation.

    Returns None where the caller has no such reply yet: another's reply is answered like one that nobody has.
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
        raise NotFound("There is no such inference", fix="send the id of a chat completion.")
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
