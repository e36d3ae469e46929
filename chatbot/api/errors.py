"""Error answers: the exception tree in OpenAI's error shape. Never shows a traceback or a request's content."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from shoptalk import errors as e
from shoptalk.store.failures import explain

log = structlog.get_logger(__name__)

# class -> (status, type, code); the first that fits, so subclasses come before their parents
SHAPES: tuple[tuple[type[Exception], int, str, str | None], ...] = (
    (e.InvalidInput, 400, "invalid_request_error", None),
    (e.Unauthenticated, 401, "authentication_error", "invalid_api_key"),
    (e.Forbidden, 403, "permission_error", "insufficient_scope"),
    (e.ModelNotFound, 404, "invalid_request_error", "model_not_found"),
    (e.NotFound, 404, "invalid_request_error", "not_found"),
    (e.IdempotencyMismatch, 409, "idempotency_error", "idempotency_mismatch"),
    (e.Conflict, 409, "invalid_request_error", "conflict"),
    (e.RateLimited, 429, "rate_limit_error", "rate_limit_exceeded"),
    (e.Overloaded, 429, "rate_limit_error", "overloaded"),
    (e.ScrubbingFailed, 400, "invalid_request_error", "not_scannable"),
    (e.ScrubberUnavailable, 503, "server_error", "scrubber_unavailable"),
    (e.EngineStopped, 503, "server_error", "engine_stopped"),
    (SQLAlchemyError, 503, "server_error", "store_unavailable"),
    (OSError, 503, "server_error", "storage_unavailable"),
)
STORE_MESSAGE = "The answer could not be saved, so it is not given. Nothing was lost; try again shortly."


def error_body(error: Exception) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and OpenAI's error object for an exception."""
    status, kind, code = next(
        ((s, t, c) for cls, s, t, c in SHAPES if isinstance(error, cls)), (500, "server_error", "internal_error")
    )
    message = error.message if isinstance(error, e.ShoptalkError) else "Something went wrong on our side."
    if isinstance(error, SQLAlchemyError | OSError):
        message = STORE_MESSAGE
    if status >= 500:
        detail = {"problem": explain(error).message} if isinstance(error, SQLAlchemyError | OSError) else {}
        log.error("request failed", error=type(error).__name__, cause=type(error.__cause__).__name__, **detail)
    field = error.field if isinstance(error, e.InvalidInput | e.Forbidden | e.ModelNotFound) else None
    own = error.code if isinstance(error, e.InvalidInput) else None
    return status, {"error": {"message": message, "type": kind, "param": field, "code": own or code}}


def retry_headers(error: Exception) -> dict[str, str]:
    """Return the headers that say when to try again, or how to authenticate."""
    if isinstance(error, e.Overloaded | e.EngineUnavailable | e.ScrubberUnavailable):
        return {"Retry-After": str(max(1, round(error.retry_after)))}
    return {"WWW-Authenticate": "Bearer"} if isinstance(error, e.Unauthenticated) else {}


def install(app: FastAPI) -> None:
    """Register the exception handlers."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        status, body = error_body(error)
        return _answer(request, status, body, retry_headers(error))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        path = [str(p) for p in first["loc"] if p not in ("body", "query", "path")]
        field = ".".join(path) or None
        message = f"{field or 'the request body'}: {first['msg'].removeprefix('Value error, ')}"
        body = {"error": {"message": message, "type": "invalid_request_error", "param": field, "code": first["type"]}}
        return _answer(request, 400, body, {})

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed", 408: "body_too_slow", 413: "body_too_large"}.get(
            error.status_code
        )
        body = {"error": {"message": str(error.detail), "type": "invalid_request_error", "param": None, "code": code}}
        return _answer(request, error.status_code, body, dict(error.headers or {}))

    for kind in (e.ShoptalkError, SQLAlchemyError, OSError, Exception):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def _answer(request: Request, status: int, body: dict[str, Any], headers: dict[str, str]) -> JSONResponse:
    request.app.state.services.metrics.errors.labels(str(status)).inc()
    return JSONResponse(body, status, headers)
