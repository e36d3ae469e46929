"""What there is: models for clients; adapters, datasets, runs, evaluations, reports and rounds for engineers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import anyio.to_thread
import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from chatbot.api.auth import Caller, require
from chatbot.api.documents import KEYED, Responses, refusals
from chatbot.api.schemas import StoredId
from chatbot.api.services import services_of
from shoptalk.domain import Scope
from shoptalk.errors import NotFound
from shoptalk.store import adapters, rounds
from shoptalk.store.monitoring import reports
from shoptalk.store.training import datasets, evaluations, runs

router = APIRouter(tags=["reading"], responses=refusals(*KEYED))
Reader = Annotated[Caller, Depends(require(Scope.READ))]
PAGE: Responses = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/v1/models")
async def models(request: Request, _: Annotated[Caller, Depends(require(Scope.CHAT))]) -> dict[str, Any]:
    """Aliases, with the adapter each serves, and the resident adapter versions."""
    services = services_of(request)
    aliases = services.router.aliases
    data = [_model(alias, str(adapter)) for alias, adapter in aliases.items()]
    data += [_model(str(ref), None) for ref in services.engine.resident()]
    return {"object": "list", "data": data}


def _model(id: str, serves: str | None) -> dict[str, Any]:
    return {"id": id, "object": "model", "created": 0, "owned_by": "shoptalk", "serves": serves}


async def _list(request: Request, limit: int, read: Callable[[sa.Connection, int], Sequence[Any]]) -> dict[str, Any]:
    def query() -> list[dict[str, Any]]:
        with services_of(request).store.read() as conn:
            return [plain(item) for item in read(conn, limit)]

    return {"object": "list", "data": await anyio.to_thread.run_sync(query)}


@router.get("/v1/adapters", responses=refusals(400))
async def list_adapters(request: Request, _: Reader, limit: Limit = 50) -> dict[str, Any]:
    """The registry, newest first."""
    return await _list(request, limit, lambda conn, n: adapters.everything(conn)[::-1][:n])


@router.get("/v1/datasets", responses=refusals(400))
async def list_datasets(request: Request, _: Reader, limit: Limit = 50) -> dict[str, Any]:
    """Frozen datasets, newest first."""
    return await _list(request, limit, datasets.newest)


@router.get("/v1/runs", responses=refusals(400))
async def list_runs(request: Request, _: Reader, limit: Limit = 50) -> dict[str, Any]:
    """Training runs, newest first."""
    return await _list(request, limit, runs.newest)


@router.get("/v1/evaluations", responses=refusals(400))
async def list_evaluations(request: Request, _: Reader, limit: Limit = 50) -> dict[str, Any]:
    """Gate verdicts with their evidence, newest first."""
    return await _list(request, limit, evaluations.newest)


@router.get("/v1/rounds", responses=refusals(400))
async def list_rounds(request: Request, _: Reader, limit: Limit = 50) -> dict[str, Any]:
    """Rounds of learning, newest first."""
    return await _list(request, limit, rounds.newest)


@router.get("/v1/reports", responses=refusals(400))
async def list_reports(request: Request, _: Reader, limit: Limit = 50) -> dict[str, Any]:
    """Drift reports, newest first."""
    return await _list(request, limit, reports.newest)


SANDBOX = (  # a page written by an earlier version has no policy of its own
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; font-src data:; "
    "img-src data: blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@router.get("/v1/reports/{report_id}", response_class=Response, responses=PAGE | refusals(400, 404))
async def get_report(request: Request, report_id: StoredId, _: Reader) -> Response:
    """One report, as the self-contained HTML page Evidently wrote.

    It is sandboxed: its scripts run in an origin of their own and reach neither cookies nor the network.
    """
    services = services_of(request)

    def read() -> bytes:
        with services.store.read() as conn:
            report = reports.find(conn, report_id)
        if report is None:
            raise NotFound(f"There is no report {report_id[:80]}.")
        if report.erased_at is not None:
            raise NotFound("This report's page was erased, with a customer whom it may have quoted.")
        return services.artifacts.get(report.artifact_sha256)

    html = await anyio.to_thread.run_sync(read)
    headers = {
        "Content-Security-Policy": SANDBOX,
        "Referrer-Policy": "no-referrer",
    }
    return Response(html, media_type="text/html; charset=utf-8", headers=headers)


def plain(item: Any) -> dict[str, Any]:
    """A frozen dataclass as JSON-ready data."""
    return {f.name: _value(getattr(item, f.name)) for f in dataclasses.fields(item)}


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return [_value(v) for v in value]
    if dataclasses.is_dataclass(value):
        return str(value)
    return value
