"""GET /healthz, /readyz, /metrics: for supervisors and Prometheus; no key needed, no content told."""

from __future__ import annotations

from datetime import datetime

import anyio.to_thread
import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from chatbot.api.services import Services, services_of
from shoptalk.store import arrivals

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "A part is down; the body says which."}})
async def readyz(request: Request) -> JSONResponse:
    """The engine runs and the store answers."""
    services = services_of(request)
    store = await anyio.to_thread.run_sync(_store_answers, services)
    parts = {"engine": services.engine.healthy(), "store": store}
    ready = all(parts.values())
    body = {"status": "ready" if ready else "not ready", **{k: "ok" if v else "down" for k, v in parts.items()}}
    return JSONResponse(body, 200 if ready else 503)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Prometheus text format."""
    services = services_of(request)
    backlog = await anyio.to_thread.run_sync(_backlog, services)
    return Response(services.metrics.render(services.engine.figures(), backlog), media_type=CONTENT_TYPE_LATEST)


def _backlog(services: Services) -> tuple[int, datetime | None] | None:
    try:
        with services.store.read() as conn:
            return arrivals.backlog(conn)
    except SQLAlchemyError:
        return None


def _store_answers(services: Services) -> bool:
    try:
        with services.store.read() as conn:
            conn.execute(sa.text("select 1"))
    except SQLAlchemyError:
        return False
    return True
