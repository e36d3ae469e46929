"""GET /healthz, /readyz, /metrics: for supervisors and Prometheus; no key needed, no content told.

They are never refused, or a supervisor would take an attack for a fault; so many at once cost as much as one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar, cast

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from chatbot.api.probing import Shared
from chatbot.api.services import Services, services_of
from shoptalk.store.ingest import inbox

T = TypeVar("T")
router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "A part is down; the body says which."}})
async def readyz(request: Request) -> JSONResponse:
    """The engine runs and the store answers."""
    services = services_of(request)
    store = await _shared(request, "store_answers", _store_answers).get()
    parts = {"engine": services.engine.healthy(), "store": store}
    ready = all(parts.values())
    body = {"status": "ready" if ready else "not ready", **{k: "ok" if v else "down" for k, v in parts.items()}}
    return JSONResponse(body, 200 if ready else 503)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Prometheus text format."""
    services = services_of(request)
    backlog = await _shared(request, "backlog", _backlog).get()
    return Response(
        services.metrics.render(services.engine.figures(), backlog, services.store.now()),
        media_type=CONTENT_TYPE_LATEST,
    )


def _shared(request: Request, name: str, find: Callable[[Services], T]) -> Shared[T]:
    """One finding for all who ask at a time; kept with the app."""
    state, services = request.app.state, services_of(request)
    if not hasattr(state, name):
        setattr(state, name, Shared(lambda: find(services)))
    return cast(Shared[T], getattr(state, name))


def _backlog(services: Services) -> tuple[int, datetime | None] | None:
    try:
        with services.store.read() as conn:
            return inbox.backlog(conn)
    except SQLAlchemyError:
        return None


def _store_answers(services: Services) -> bool:
    try:
        with services.store.read() as conn:
            conn.execute(sa.text("select 1"))
    except SQLAlchemyError:
        return False
    return True
