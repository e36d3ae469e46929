"""The routes that engineers read: adapters, datasets, runs, evaluations and reports, newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import anyio.to_thread
import sqlalchemy as sa
from fastapi import APIRouter, Query
from fastapi.responses import Response

from chatbot.api.answers import ListAnswer, StoredAnswer
from chatbot.api.auth import require
from chatbot.api.caller import Caller
from chatbot.api.openapi import KEYED, Responses, refusals
from chatbot.api.schemas import StoredId
from chatbot.api.services import Services, ServicesDep
from chatbot.api.stored_answers import (
    AdapterAnswer,
    DatasetAnswer,
    EvaluationAnswer,
    ReportAnswer,
    RunAnswer,
)
from shoptalk.domain import Scope
from shoptalk.errors import NotFound
from shoptalk.store import adapters
from shoptalk.store.monitoring import reports
from shoptalk.store.training import datasets, evaluations, runs

A = TypeVar("A", bound=StoredAnswer)
router = APIRouter(tags=["reading"], responses=refusals(*KEYED))
Reader = Annotated[Caller, require(Scope.READ)]
PAGE: Responses = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
Limit = Annotated[int, Query(ge=1, le=500)]


async def _list(
    services: Services, limit: int, read: Callable[[sa.Connection, int], Sequence[object]], shape: type[A]
) -> ListAnswer[A]:
    def query() -> ListAnswer[A]:
        with services.store.read() as conn:
            return ListAnswer(data=[shape.model_validate(item) for item in read(conn, limit)])

    return await anyio.to_thread.run_sync(query)


@router.get("/v1/adapters", responses=refusals(400))
async def list_adapters(services: ServicesDep, _: Reader, limit: Limit = 50) -> ListAnswer[AdapterAnswer]:
    """List registered adapters, newest first."""
    return await _list(services, limit, adapters.newest, AdapterAnswer)


@router.get("/v1/datasets", responses=refusals(400))
async def list_datasets(services: ServicesDep, _: Reader, limit: Limit = 50) -> ListAnswer[DatasetAnswer]:
    """List frozen datasets, newest first."""
    return await _list(services, limit, datasets.newest, DatasetAnswer)


@router.get("/v1/runs", responses=refusals(400))
async def list_runs(services: ServicesDep, _: Reader, limit: Limit = 50) -> ListAnswer[RunAnswer]:
    """List training runs, newest first."""
    return await _list(services, limit, runs.newest, RunAnswer)


@router.get("/v1/evaluations", responses=refusals(400))
async def list_evaluations(services: ServicesDep, _: Reader, limit: Limit = 50) -> ListAnswer[EvaluationAnswer]:
    """List the gate's verdicts with their evidence, newest first."""
    return await _list(services, limit, evaluations.newest, EvaluationAnswer)


@router.get("/v1/reports", responses=refusals(400))
async def list_reports(services: ServicesDep, _: Reader, limit: Limit = 50) -> ListAnswer[ReportAnswer]:
    """List drift reports, newest first."""
    return await _list(services, limit, reports.newest, ReportAnswer)


SANDBOX = (  # a page written by an earlier version has no policy of its own
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; font-src data:; "
    "img-src data: blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@router.get("/v1/reports/{report_id}", response_class=Response, responses=PAGE | refusals(400, 404))
async def get_report(services: ServicesDep, report_id: StoredId, _: Reader) -> Response:
    """Return one report, as the self-contained HTML page that Evidently wrote.

    It is sandboxed: its scripts run in an origin of their own and reach neither cookies nor the network.
    """

    def read() -> bytes:
        with services.store.read() as conn:
            report = reports.find(conn, report_id)
        if report is None:
            raise NotFound(f"There is no report {report_id[:80]}.")
        if report.erased_at is not None:
            raise NotFound("This report's page was erased, with a customer that it may have quoted.")
        return services.artifacts.get(report.artifact_sha256)

    html = await anyio.to_thread.run_sync(read)
    headers = {
        "Content-Security-Policy": SANDBOX,
        "Referrer-Policy": "no-referrer",
    }
    return Response(html, media_type="text/html; charset=utf-8", headers=headers)
