"""Turns a request into an Exchange: who owns the conversation, what the model may read, which adapter answers."""

from __future__ import annotations

import hashlib
import time

import anyio.to_thread
import structlog

from chatbot.api.auth import Caller
from chatbot.api.exchange import Exchange, Reply
from chatbot.api.schemas import ChatRequest
from chatbot.api.services import Services
from chatbot.engine.protocol import Finished
from shoptalk.domain import Message, new_id
from shoptalk.errors import ScrubbingFailed
from shoptalk.ports import Scrubbed

log = structlog.get_logger(__name__)
CONVERSATION = "conversation_id"


async def prepare(services: Services, caller: Caller, body: ChatRequest, idempotency_key: str | None) -> Exchange:
    """Raises NotFound for another's conversation or an unknown model."""
    public = (body.metadata or {}).get(CONVERSATION) or new_id("conv")
    conversation = services.secrets.conversation(public)
    who = caller.customer or body.user
    customer = services.secrets.customer(who) if who else None
    check = services.recorder.check_owner
    await anyio.to_thread.run_sync(check, conversation, caller.key_id, customer)
    route = services.router.resolve(body.model, frozenset(services.engine.resident()))
    messages = [m.as_message() for m in body.messages]
    raw = [m for m in messages if m.role != "system"]
    appended = [m for m in messages if m.role == "system"]
    scrubbed, problem, prompt = await anyio.to_thread.run_sync(_scrub, services, appended, raw)
    idempotency = None
    if idempotency_key:
        idempotency = (stored_key(services, caller, idempotency_key), body_hash(body))
    return Exchange(conversation, public, caller.key_id, customer, raw, prompt, scrubbed, problem, route, idempotency)


def stored_key(services: Services, caller: Caller, idempotency_key: str) -> str:
    """Clients may put anything into an Idempotency-Key, so only a keyed hash of it is kept."""
    return "ans_" + services.secrets.digest("idempotency", f"{caller.key_id}\0{idempotency_key}")


def body_hash(body: ChatRequest) -> str:
    """What must be the same for two requests to be one; how the answer is delivered does not matter."""
    content = body.model_dump_json(exclude={"stream", "stream_options"})
    return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()


def _scrub(
    services: Services, appended: list[Message], raw: list[Message]
) -> tuple[Scrubbed | None, str | None, list[Message]]:
    """The model reads placeholders; where scrubbing fails it reads the words, and they are not kept."""
    shop = services.settings.prompt
    began = time.perf_counter()
    try:
        scrubbed = services.scrubber.scrub(raw)
        extra = services.scrubber.scrub(appended).texts if appended else ()
    except ScrubbingFailed as error:
        log.warning("text not kept", reason=error.message)
        services.metrics.scrub_failures.labels(error.message[:60]).inc()
        system = Message("system", shop)
        return None, f"scrubbing failed: {error.message}"[:200], [system, *raw]
    finally:
        services.metrics.scrubbing.observe(time.perf_counter() - began)
    system = Message("system", "\n\n".join([shop, *extra]))
    history = [Message(m.role, text) for m, text in zip(raw, scrubbed.texts, strict=True)]
    return scrubbed, None, [system, *history]


def conclude(services: Services, exchange: Exchange, shown: str, finished: Finished) -> Reply:
    """Scrub what was shown, in the light of the whole conversation, for the record."""
    if exchange.scrubbed is None:
        return Reply(shown, None, exchange.scrub_problem, {}, finished, {})
    try:
        whole = services.scrubber.scrub([*exchange.raw, Message("assistant", shown)])
    except ScrubbingFailed as error:
        services.metrics.scrub_failures.labels(error.message[:60]).inc()
        return Reply(shown, None, f"scrubbing failed: {error.message}"[:200], {}, finished, {})
    revised = {
        i: final
        for i, (causal, final) in enumerate(zip(whole.texts[:-1], whole.final[:-1], strict=True))
        if causal != final
    }
    return Reply(shown, whole.final[-1], None, whole.counts[-1], finished, revised)
