"""What the OpenAPI schema says of answers: a completion's shape, every error's, and which errors a route gives."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

Responses = dict[int | str, dict[str, Any]]
MEANINGS = {
    400: "The request is not valid; the message says which field and why.",
    401: "No API key, or one that is not known here.",
    403: "The API key lacks the scope the route needs.",
    404: "There is no such thing, or it is another's.",
    409: "The request contradicts what is there.",
    413: "The body is too large.",
    429: "A limit is reached, or too many requests are waiting; `Retry-After` says when to try again.",
    503: "The engine or the store does not work now; try again shortly.",
}
KEYED = (401, 403, 429, 503)  # of every route that needs a key


class Problem(BaseModel):
    """What went wrong, as OpenAI tells it."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """The body of every error."""

    error: Problem


class AnswerMessage(BaseModel):
    """The reply."""

    role: Literal["assistant"]
    content: str | None
    refusal: None


class Choice(BaseModel):
    """There is always one."""

    index: int
    message: AnswerMessage
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"]


class Usage(BaseModel):
    """In tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """The answer to POST /v1/chat/completions; `model` names the exact adapter."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage
    metadata: dict[str, str | None]


COMPLETION: Responses = {
    200: {
        "model": Completion,
        "description": "The reply; server-sent events where `stream` is true.",
        "content": {"text/event-stream": {}},
    }
}


def refusals(*statuses: int) -> Responses:
    """For a route's or router's `responses`."""
    return {status: {"model": ErrorAnswer, "description": MEANINGS[status]} for status in statuses}


def install(app: FastAPI) -> None:
    """Make the schema once, without the 422 that FastAPI adds by itself: what is not valid is 400 here."""

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            for operation in (o for path in made["paths"].values() for o in path.values()):
                operation["responses"].pop("422", None)
            for unused in ("HTTPValidationError", "ValidationError"):
                made["components"]["schemas"].pop(unused, None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]  # FastAPI's own way to change it
