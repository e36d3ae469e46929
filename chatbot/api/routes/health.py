"""GET /healthz, /readyz, /metrics: for supervisors and Prometheus. They need no key and show no content.

They are never refused, or a supervisor would take an attack for a fault; many requests at once cost as much as one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar, cast

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from chatbot.api.answers import HealthAnswer, ReadinessAnswer
from chatbot.api.openapi import answer
from chatbot.api.probing import SharedProbe
from chatbot.api.services import Services, ServicesDep, services_of
from shoptalk.store.ingest import inbox

T = TypeVar("T")
router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> HealthAnswer:
    """Report that the process answers."""
    return HealthAnswer()


@router.get("/readyz", responses=answer(503, ReadinessAnswer, "A part is down; the body says which."))
async def readyz(request: Request, response: Response, services: ServicesDep) -> ReadinessAnswer:
    """Report whether the engine runs and the store answers."""
    store = await _shared(request, "store_answers", _store_answers).get()
    engine = services.engine.healthy()
    ready = engine and store
    response.status_code = 200 if ready else 503
    return ReadinessAnswer(
        status="ready" if ready else "not ready", engine="ok" if engine else "down", store="ok" if store else "down"
    )


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request, services: ServicesDep) -> Response:
    """Report metrics in Prometheus' text format."""
    backlog = await _shared(request, "backlog", _backlog).get()
    return Response(
        services.metrics.render(services.engine.metrics(), backlog, services.store.now()),
        media_type=CONTENT_TYPE_LATEST,
    )


def _shared(request: Request, name: str, find: Callable[[Services], T]) -> SharedProbe[T]:
    """Return the probe of this name, which is kept with the app."""
    state, services = request.app.state, services_of(request)
    if not hasattr(state, name):
        setattr(state, name, SharedProbe(lambda: find(services)))
    return cast(SharedProbe[T], getattr(state, name))


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
