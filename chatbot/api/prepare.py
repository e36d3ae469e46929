"""Preparation of a chat request: its conversation, the adapter that answers, and the prompt the model may read.

Also prepares the reply for the record. Knows neither HTTP nor how a reply is generated.
"""

from __future__ import annotations

import time

import structlog

from chatbot.api.caller import Caller
from chatbot.api.exchange import Exchange, History, Reply
from chatbot.api.idempotency import RepeatableRequest
from chatbot.api.limits.admission import Admission
from chatbot.api.schemas import ChatRequest
from chatbot.api.services import Services
from chatbot.engine.protocol import Finished, Lane
from chatbot.router import Route
from shoptalk.domain import AdapterRef, Message, Scope, new_id
from shoptalk.errors import InvalidInput, Overloaded, ScrubberUnavailable, ScrubbingFailed, ScrubbingTimedOut
from shoptalk.ports import CustomerRecord, ScrubbedConversation

log = structlog.get_logger(__name__)
CONVERSATION = "conversation_id"
TEST = "test"  # "true": no customer's, so it counts neither for drift nor as the shop's traffic
CHARACTERS_PER_TOKEN = 32  # several times what any language has


async def prepare(
    services: Services, caller: Caller, body: ChatRequest, repeatable: RepeatableRequest | None, admission: Admission
) -> Exchange:
    """Scrub a chat request, once it is its turn, and resolve its conversation and adapter.

    A client whose text reached the scrubber's deadline is answered this time and has to wait before its next request,
    longer each time. Raises NotFound for another's conversation, ModelNotFound, Overloaded, and InvalidInput for a
    chat that no model could read.
    """
    _check_length(services, body)
    check_room(services, caller.lane, admission.address)
    named = (body.metadata or {}).get(CONVERSATION)
    who = caller.customer or body.user
    customer = services.secrets.customer(who) if who else None
    messages = [m.as_message() for m in body.messages]
    raw = [m for m in messages if m.role != "system"]
    appended = [m for m in messages if m.role == "system"]
    record = body.customer.values() if body.customer else {}

    def work() -> tuple[
        str, str, bool, Route, ScrubbedConversation | None, ScrubbingFailed | None, list[Message]
    ]:  # a change of threads costs more
        before = None if named else services.recorder.continued(caller.owner, customer, raw[:-1])
        public = named or before or new_id("conv")
        conversation = services.recorder.find(public, caller.owner, customer)
        route = resolve(services, caller, body, conversation)
        return conversation, public, before is not None, route, *_scrub(services, appended, raw, record)

    problem: ScrubbingFailed | None
    conversation, public, joined, route, scrubbed, problem, prompt = await services.preparing[caller.lane].run(work)
    if isinstance(problem, ScrubbingTimedOut):
        services.limits.penalize(admission, key_id=caller.key_id, customer=who)
    if problem and services.settings.model_is_remote:
        raise InvalidInput(
            "Your messages could not be checked for personal data, so they are not sent to the model, which runs on "
            "another machine. Shorten or rephrase them.",
            field="messages",
            code="not_scannable",
        )
    return Exchange(
        conversation, public, caller.owner, customer, raw, prompt, scrubbed, _reason(problem), route, bool(named),
        repeatable, joined=joined, test=(body.metadata or {}).get(TEST) == "true",
    )  # fmt: skip


def check_room(services: Services, lane: Lane, group: str) -> None:
    """Raise Overloaded where as many requests of a lane wait as may, before any work is done for one more."""
    queue = services.preparing[lane]
    wait = services.engine.crowded(lane, group, queue.count)
    if wait is None and lane == "visitors" and queue.wait_s > services.settings.visitor_wait_s / 2:
        wait = queue.wait_s
    if wait is not None:
        raise Overloaded(retry_after=wait)


def resolve(services: Services, caller: Caller, body: ChatRequest, conversation: str) -> Route:
    """Return the adapter that answers. Raises ModelNotFound.

    A caller with the scope `release` may also ask for versions that are not resident.
    """

    def allowed(ref: AdapterRef) -> bool:
        return caller.allows(Scope.RELEASE) or ref in services.engine.resident()

    return services.router.resolve(body.model, conversation, allowed)


def _check_length(services: Services, body: ChatRequest) -> None:
    """Raise InvalidInput for what no model could read, by length alone: scrubbing it would take time."""
    length, most = sum(len(m.text) for m in body.messages), CHARACTERS_PER_TOKEN * services.settings.max_context
    if length > most:
        raise InvalidInput(
            f"Your messages have {length} characters; this model reads {services.settings.max_context} tokens, "
            f"never more than {most} characters. Shorten them.",
            field="messages",
            code="context_length_exceeded",
        )


def _scrub(
    services: Services, appended: list[Message], raw: list[Message], record: CustomerRecord
) -> tuple[ScrubbedConversation | None, ScrubbingFailed | None, list[Message]]:
    """Return the scrubbed conversation, or why there is none, and the prompt for the model.

    The model reads placeholders; where scrubbing fails it reads the words as sent, and they are not kept. The
    client's system messages are scrubbed with the conversation, so that no two values share a placeholder.
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
    """Return why a text is not kept, to be stored in its place."""
    return f"scrubbing failed: {problem.message}"[:200] if problem else None


def conclude(services: Services, exchange: Exchange, shown: str, finished: Finished) -> Reply:
    """Return the reply to record: the model's own text, which holds placeholders, without those it made up.

    Does not start from what was shown: values that were filled in may be too short to be found again.
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
    """Return the text of an earlier answer with its placeholders filled, by scrubbing the same request again."""
    raw = [m.as_message() for m in body.messages]
    extra, history = [m for m in raw if m.role == "system"], [m for m in raw if m.role != "system"]
    record = body.customer.values() if body.customer else {}
    return services.scrubber.scrub([*extra, *history], record).vault.fill(text)
