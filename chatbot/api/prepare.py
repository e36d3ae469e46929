"""Turns a request into an Exchange: who owns the conversation, what the model may read, which adapter answers."""

from __future__ import annotations

import time

import structlog

from chatbot.api.auth import Caller
from chatbot.api.exchange import Exchange, History, Reply
from chatbot.api.limits.admission import Admission
from chatbot.api.schemas import ChatRequest
from chatbot.api.services import Services
from chatbot.engine.protocol import Finished, Lane
from chatbot.router import Route
from shoptalk.domain import AdapterRef, Message, Scope, new_id
from shoptalk.errors import InvalidInput, Overloaded, ScrubberUnavailable, ScrubbingFailed, ScrubbingTimedOut
from shoptalk.ports import CustomerRecord, Scrubbed

log = structlog.get_logger(__name__)
CONVERSATION = "conversation_id"
CHARACTERS_PER_TOKEN = 32  # several times what any language has


async def prepare(
    services: Services, caller: Caller, body: ChatRequest, idempotency_key: str | None, admission: Admission
) -> Exchange:
    """Raises NotFound for another's conversation or an unknown model, InvalidInput for a hopelessly long chat.

    A client whose text was ended at its deadline is answered this time, and waits before the next, longer each time.
    """
    _check_length(services, body)
    check_room(services, caller.lane, admission.address)
    named = (body.metadata or {}).get(CONVERSATION)
    public = named or new_id("conv")
    who = caller.customer or body.user
    customer = services.secrets.customer(who) if who else None
    messages = [m.as_message() for m in body.messages]
    raw = [m for m in messages if m.role != "system"]
    appended = [m for m in messages if m.role == "system"]
    record = body.customer.values() if body.customer else {}

    def work() -> tuple[
        str, Route, Scrubbed | None, ScrubbingFailed | None, list[Message]
    ]:  # a change of threads costs more
        conversation = services.recorder.find(public, caller.owner, customer)
        return conversation, resolve(services, caller, body, conversation), *_scrub(services, appended, raw, record)

    problem: ScrubbingFailed | None
    conversation, route, scrubbed, problem, prompt = await services.preparing[caller.lane].run(work)
    if isinstance(problem, ScrubbingTimedOut):
        services.limits.penalize(admission, key_id=caller.key_id, customer=who)
    if problem and services.settings.model_is_remote:
        raise InvalidInput(
            "Your messages could not be checked for personal data, so they are not sent to the model, which runs on "
            "another machine. Shorten or rephrase them.",
            field="messages",
            code="not_scannable",
        )
    idempotency = None
    if idempotency_key:
        idempotency = (stored_key(services, caller, idempotency_key), body_hash(services, body))
    return Exchange(
        conversation, public, caller.owner, customer, raw, prompt, scrubbed, _reason(problem), route, bool(named),
        idempotency,
    )  # fmt: skip


def check_room(services: Services, lane: Lane, group: str) -> None:
    """Raises Overloaded where as many of a lane wait as may, before any work is done for one more."""
    line = services.preparing[lane]
    wait = services.engine.crowded(lane, group, line.count)
    if wait is None and lane == "visitors" and line.wait_s > services.settings.visitor_wait_s / 2:
        wait = line.wait_s
    if wait is not None:
        raise Overloaded(retry_after=wait)


def resolve(services: Services, caller: Caller, body: ChatRequest, conversation: str) -> Route:
    """Which adapter answers; raises NotFound. Who may release may also ask for versions that are not resident."""

    def allowed(ref: AdapterRef) -> bool:
        return caller.allows(Scope.RELEASE) or ref in services.engine.resident()

    return services.router.resolve(body.model, conversation, allowed)


def _check_length(services: Services, body: ChatRequest) -> None:
    """Scrubbing takes time: what no model could read is refused before, by length alone."""
    length, most = sum(len(m.text) for m in body.messages), CHARACTERS_PER_TOKEN * services.settings.max_context
    if length > most:
        raise InvalidInput(
            f"Your messages have {length} characters; this model reads {services.settings.max_context} tokens, "
            f"never more than {most} characters. Shorten them.",
            field="messages",
            code="context_length_exceeded",
        )


def stored_key(services: Services, caller: Caller, idempotency_key: str) -> str:
    """Clients may put anything into an Idempotency-Key, so only a keyed hash of it is kept; each has their own."""
    return "ans_" + services.secrets.digest("idempotency", f"{caller.idempotency}\0{idempotency_key}")


def body_hash(services: Services, body: ChatRequest) -> str:
    """What must be the same for two requests to be one; how the answer is delivered does not matter."""
    return services.secrets.digest("body", body.model_dump_json(exclude={"stream", "stream_options"}))


def _scrub(
    services: Services, appended: list[Message], raw: list[Message], record: CustomerRecord
) -> tuple[Scrubbed | None, ScrubbingFailed | None, list[Message]]:
    """The model reads placeholders; where scrubbing fails it reads the words, and they are not kept.

    The client's system messages are scrubbed with the conversation, so that no two values share a placeholder.
    """
    shop = services.settings.prompt
    began = time.perf_counter()
    try:
        whole = services.scrubber.scrub([*appended, *raw], record)
    except ScrubbingFailed as error:
        log.warning("text not kept", reason=error.message)
        services.metrics.scrub_failures.labels(error.message[:60]).inc()
        return None, error, [Message("system", shop), *raw]
    finally:
        services.metrics.scrubbing.observe(time.perf_counter() - began)
    n = len(appended)
    scrubbed = History(tuple(whole.texts[n:]), tuple(whole.final[n:]), tuple(whole.counts[n:]), whole.vault)
    system = Message("system", "\n\n".join([shop, *whole.texts[:n]]))
    return scrubbed, None, [system, *(Message(m.role, t) for m, t in zip(raw, scrubbed.texts, strict=True))]


def _reason(problem: ScrubbingFailed | ScrubberUnavailable | None) -> str | None:
    """Why a text is not kept, to be stored where it would be."""
    return f"scrubbing failed: {problem.message}"[:200] if problem else None


def conclude(services: Services, exchange: Exchange, shown: str, finished: Finished) -> Reply:
    """What to record: the model's own text, which holds placeholders, without what it made up itself.

    Not what was shown: values that were filled in may be too short to be found again.
    """
    scrubbed = exchange.scrubbed
    if scrubbed is None:
        return Reply(shown, None, exchange.scrub_problem, {}, finished, {})
    try:
        text, removed = services.scrubber.scrub_correction(scrubbed.texts, scrubbed.vault.settle(finished.text))
    except (ScrubbingFailed, ScrubberUnavailable) as error:
        services.metrics.scrub_failures.labels(error.message[:60]).inc()
        return Reply(shown, None, _reason(error), {}, finished, {})
    pairs = zip(scrubbed.texts, scrubbed.final, strict=True)
    revised = {i: final for i, (causal, final) in enumerate(pairs) if causal != final}
    return Reply(shown, text, None, removed, finished, revised)


def fill_again(services: Services, body: ChatRequest, text: str) -> str:
    """An answer given before holds placeholders; the same request, scrubbed again, says what they stand for."""
    raw = [m.as_message() for m in body.messages]
    extra, history = [m for m in raw if m.role == "system"], [m for m in raw if m.role != "system"]
    record = body.customer.values() if body.customer else {}
    return services.scrubber.scrub([*extra, *history], record).vault.fill(text)
