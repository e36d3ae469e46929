"""The OpenAPI schema: how routes declare their answers and refusals, and how the schema is made.

Without the status 422 that FastAPI adds by itself: what is not valid is 400 here. Knows no route.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from chatbot.api.answers import ErrorAnswer

Responses = dict[int | str, dict[str, Any]]
MEANINGS = {
    400: "The request is not valid; the message says which field and why.",
    401: "No API key, or one that is not known here.",
    403: "The API key lacks the scope the route needs.",
    404: "There is no such thing, or it is another's.",
    409: "The request contradicts the present state.",
    413: "The body is too large.",
    429: "A limit is reached, or too many requests are waiting; `Retry-After` says when to try again.",
    503: "The engine or the store does not work now; try again shortly.",
}
KEYED = (401, 403, 429, 503)  # of every route that needs a key


def refusals(*statuses: int) -> Responses:
    """Return the error answers of a route or router, for its `responses`."""
    return {status: {"model": ErrorAnswer, "description": MEANINGS[status]} for status in statuses}


def answer(status: int, model: type[BaseModel], description: str) -> Responses:
    """Return an answer besides the usual one, for a route's `responses`."""
    return {status: {"model": model, "description": description}}


def install(app: FastAPI) -> None:
    """Let `app.openapi()` make the schema once."""

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app)
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]  # FastAPI's own way to change it


def _schema(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for operation in (o for path in made["paths"].values() for o in path.values()):
        operation["responses"].pop("422", None)
    for unused in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(unused, None)
    return made
