"""POST /v1/chat/completions: scrub, generate, fill back, commit, acknowledge."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import anyio
import anyio.to_thread
import structlog
from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sqlalchemy.exc import SQLAlchemyError

from chatbot.api.answers import Completion
from chatbot.api.auth import require
from chatbot.api.caller import Caller
from chatbot.api.completion import DONE, Shapes, event, replay
from chatbot.api.errors import error_body
from chatbot.api.exchange import Exchange, Reply
from chatbot.api.idempotency import RepeatableRequest, chat_request
from chatbot.api.limits.admission import Admission, admission_of
from chatbot.api.limits.policy import check_visitor
from chatbot.api.openapi import KEYED, Responses, refusals
from chatbot.api.prepare import CONVERSATION, conclude, fill_again, prepare, resolve
from chatbot.api.schemas import ChatRequest
from chatbot.api.services import Services, ServicesDep
from chatbot.engine.protocol import Delta, Event, Finished, GenerationRequest, Sampling, TokenLogprob
from chatbot.router import unknown_model
from shoptalk.domain import Scope
from shoptalk.errors import (
    AdapterRefused,
    Conflict,
    EngineStopped,
    NoFreeSlot,
    NotFound,
    Overloaded,
    ShoptalkError,
)

log = structlog.get_logger(__name__)
router = APIRouter(tags=["chat"], responses=refusals(*KEYED, 400, 404, 409, 413, 429))
LOADS = 4  # times an adapter is loaded for one request
COMPLETION: Responses = {
    200: {
        "model": Completion,
        "description": "The reply; server-sent events where `stream` is true.",
        "content": {"text/event-stream": {}},
    }
}


@dataclass(slots=True)
class Generation:
    """A reply in progress: events from the engine's thread, and the text shown so far."""

    exchange: Exchange
    events: asyncio.Queue[Event]
    wants_logprobs: bool
    shown: list[str] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)
    finished: Finished | None = None
    committed: bool = False  # or being committed
    pay: Callable[[float], None] = lambda _: None  # for the tokens it took


@router.post("/v1/chat/completions", response_model=None, responses=COMPLETION)
async def chat(
    request: Request,
    services: ServicesDep,
    body: ChatRequest,
    caller: Annotated[Caller, require(Scope.CHAT)],
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Answer the last message. Plain, or as server-sent events where `stream` is true."""
    admission = admission_of(request)
    if caller.lane == "visitors":
        check_visitor(services.settings, body)
    else:
        services.limits.check_client(caller.key_id, body.user)
    repeatable = None
    if idempotency_key:
        repeatable = chat_request(services.secrets, caller, idempotency_key, body)
        if (earlier := await _earlier(services, repeatable, body)) is not None:
            return _answer_again(earlier, body)
    exchange = await prepare(services, caller, body, repeatable, admission)
    generation = await _submit(services, caller, admission, exchange, body)
    exchange = generation.exchange
    shapes = Shapes(exchange, services.engine.fingerprint)
    headers = {"X-Inference-Id": exchange.id, "X-Conversation-Id": _header(exchange.public_conversation)}
    if body.stream:
        async with _cancelled_by_leaving(services, request, generation):
            first = await _next(services, generation)  # errors before the first token are plain HTTP errors
        include = bool(body.stream_options and body.stream_options.include_usage)
        stream = _stream(services, generation, shapes, first, include)
        headers["Cache-Control"] = "no-cache"
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)
    return await _plain(services, request, generation, shapes, headers)


async def _submit(
    services: Services, caller: Caller, admission: Admission, exchange: Exchange, body: ChatRequest
) -> Generation:
    """Hand a request to the engine, loading its adapter first where it is not resident.

    Where the adapter was withdrawn since the alias was resolved, the one that took its place answers. Raises Overloaded
    where the queue is full or no adapter slot is free, ModelNotFound, and EngineStopped where loading fails.
    """
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Event] = asyncio.Queue()
    settings = services.settings
    wanted_tokens = body.max_completion_tokens or body.max_tokens or settings.max_new_tokens
    if caller.lane == "visitors":
        wanted_tokens = min(wanted_tokens, settings.visitor_max_tokens)
    sampling = Sampling(
        max_tokens=wanted_tokens,
        temperature=settings.temperature if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=body.seed,
        stop=body.stops,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        min_tokens=body.min_tokens,
        ignore_eos=body.ignore_eos,
    )

    def hand_over(item: Event) -> None:
        loop.call_soon_threadsafe(events.put_nowait, item)

    def submit(exchange: Exchange) -> Generation:
        wanted = GenerationRequest(
            exchange.id, exchange.prompt, exchange.route.adapter, sampling, settings.request_timeout_s,
            client=f"{exchange.owner}\0{exchange.customer or ''}",
            shared_prefix=settings.prompt,
            lane=caller.lane,
            group=admission.address if caller.lane == "visitors" else "",
        )  # fmt: skip
        services.engine.submit(wanted, hand_over)
        return Generation(exchange, events, bool(body.logprobs), pay=admission.pay)

    for _ in range(LOADS):  # more adapters than slots take turns, so another may take its place before it is used
        with contextlib.suppress(NotFound):
            return submit(exchange)
        try:
            await anyio.to_thread.run_sync(services.loader.ensure, exchange.route.adapter, limiter=services.loading)
        except NoFreeSlot:
            raise Overloaded("Every adapter slot is in use; try again shortly.", retry_after=1.0) from None
        except AdapterRefused as error:
            route = resolve(services, caller, body, exchange.conversation)
            if route.adapter != exchange.route.adapter:
                exchange = dataclasses.replace(exchange, route=route)
                continue
            log.error("adapter not loaded", adapter=str(exchange.route.adapter), problem=error.message)
            raise EngineStopped("The model that should answer cannot be loaded.") from None
        except NotFound:
            raise unknown_model(body.model) from None
    try:
        return submit(exchange)
    except NotFound:
        raise Overloaded("Too many adapters are asked for at once; try again shortly.", retry_after=1.0) from None


async def _next(services: Services, generation: Generation) -> Event:
    """Return the engine's next event. Raises EngineStopped where it failed, Overloaded where it took too long."""
    try:
        if generation.events.empty():
            async with asyncio.timeout(services.settings.request_timeout_s):
                item = await generation.events.get()
        else:
            item = generation.events.get_nowait()
    except TimeoutError:
        services.engine.cancel(generation.exchange.id)
        raise Overloaded("The reply took too long; try again shortly.", retry_after=5.0) from None
    if isinstance(item, Finished):
        generation.finished = item
        generation.pay(item.prompt_tokens + item.completion_tokens)
        if item.reason == "displaced":
            raise Overloaded
        if item.reason == "error":
            raise EngineStopped(item.problem)
        if item.reason == "deadline" and not item.completion_tokens:
            raise Overloaded("The reply took too long; try again shortly.", retry_after=5.0)
    else:
        generation.tokens.extend(item.tokens)
    return item


async def _plain(
    services: Services, request: Request, generation: Generation, shapes: Shapes, headers: dict[str, str]
) -> Response:
    text: list[str] = []
    async with _cancelled_by_leaving(services, request, generation):
        while not isinstance(item := await _next(services, generation), Finished):
            text.append(item.text)
    scrubbed = generation.exchange.scrubbed
    shown = scrubbed.vault.fill("".join(text)) if scrubbed else "".join(text)
    answer = shapes.whole(shown, generation.tokens if generation.wants_logprobs else None, item)
    generation.shown = [shown]
    # of a client that went away only what was generated is kept: a repeated request is answered in full
    await _commit(services, generation, None if item.reason == "cancelled" else answer)
    return JSONResponse(answer, headers=headers)


async def _stream(
    services: Services, generation: Generation, shapes: Shapes, first: Event, include_usage: bool
) -> AsyncIterator[str]:
    exchange = generation.exchange
    filler = exchange.scrubbed.vault.filler() if exchange.scrubbed else None
    item: Event = first
    text: list[str] = []
    try:
        yield shapes.chunk({"role": "assistant", "content": ""})
        while isinstance(item, Delta):
            text.append(item.text)
            piece = filler.feed(item.text) if filler else item.text
            generation.shown.append(piece)
            tokens = list(item.tokens) if generation.wants_logprobs else None
            if piece or tokens:
                yield shapes.chunk({"content": piece}, tokens=tokens)
            item = await _next(services, generation)
        if rest := filler.flush() if filler else "":
            generation.shown.append(rest)
            yield shapes.chunk({"content": rest})
        shown = "".join(generation.shown)
        answer = shapes.whole(shown, generation.tokens if generation.wants_logprobs else None, item)
        await _commit(services, generation, None if item.reason == "cancelled" else answer)
        yield shapes.chunk({}, finish=answer["choices"][0]["finish_reason"])
        if include_usage:
            yield shapes.usage_chunk(item)
        yield DONE
    except (ShoptalkError, SQLAlchemyError, OSError) as error:  # the status is sent; the stream must say it
        yield event(error_body(error)[1])
    except (asyncio.CancelledError, GeneratorExit):
        services.engine.cancel(exchange.id)
        if not generation.committed:
            _keep_partial(services, generation)
        raise


def _keep_partial(services: Services, generation: Generation) -> None:
    """Record, in the background, what a client that went away was shown: it still happened."""

    async def wait_and_commit() -> None:
        while generation.finished is None:
            await _next(services, generation)
        await _commit(services, generation, None)

    task = asyncio.get_running_loop().create_task(wait_and_commit())
    task.add_done_callback(_log_failure)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("partial reply not recorded", error=type(error).__name__)


async def _commit(services: Services, generation: Generation, answer: dict[str, Any] | None) -> None:
    finished = generation.finished
    assert finished is not None
    generation.committed = True
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(_record, services, generation, finished, answer)
    services.metrics.replies.labels(str(generation.exchange.route.adapter), finished.reason).inc()
    services.metrics.ttft.observe(finished.ttft_ms / 1000)


def _record(services: Services, generation: Generation, finished: Finished, answer: dict[str, Any] | None) -> None:
    reply: Reply = conclude(services, generation.exchange, "".join(generation.shown), finished)
    began = time.perf_counter()
    services.recorder.record(generation.exchange, reply, _without_values(answer, generation.exchange, reply.text))
    services.metrics.commit.observe(time.perf_counter() - began)


def _without_values(answer: dict[str, Any] | None, exchange: Exchange, text: str | None) -> dict[str, Any] | None:
    """Return the answer to keep for a repeated request: with placeholders, and without an id the client made up."""
    if answer is None:
        return None
    choice = answer["choices"][0]
    kept = {**answer, "choices": [{**choice, "logprobs": None, "message": {**choice["message"], "content": text}}]}
    if exchange.named_by_client:
        del kept["metadata"]
    return kept


@contextlib.asynccontextmanager
async def _cancelled_by_leaving(services: Services, request: Request, generation: Generation) -> AsyncIterator[None]:
    """Stop the generation when the client goes away before anything was sent to it."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        services.engine.cancel(generation.exchange.id)

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        services.engine.cancel(generation.exchange.id)
        raise
    finally:
        watching.cancel()


async def _earlier(services: Services, repeatable: RepeatableRequest, body: ChatRequest) -> dict[str, Any] | None:
    """Return the answer that the same request got before, its placeholders filled; None for none."""
    answer = await anyio.to_thread.run_sync(services.recorder.answers.earlier, repeatable)
    if answer is None:
        return None
    message = answer["choices"][0]["message"]
    if message["content"] is None:
        raise Conflict("This request was answered already, but its text could not be kept.")
    message["content"] = await anyio.to_thread.run_sync(fill_again, services, body, message["content"])
    if "metadata" not in answer:
        answer["metadata"] = {CONVERSATION: (body.metadata or {}).get(CONVERSATION)}
    return answer


def _answer_again(answer: dict[str, Any], body: ChatRequest) -> Response:
    headers = {"X-Inference-Id": str(answer["id"]), "Idempotent-Replay": "true"}
    if not body.stream:
        return JSONResponse(answer, headers=headers)
    include = bool(body.stream_options and body.stream_options.include_usage)
    return StreamingResponse(replay(answer, include_usage=include), media_type="text/event-stream", headers=headers)


def _header(value: str) -> str:
    """Return a conversation id as a header's value: plain ASCII only; others are the client's own to remember."""
    return value if value.isascii() and value.isprintable() else ""
