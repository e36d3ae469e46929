"""Builds the HTTP application from its services; starts and stops the engine with it."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import APIRouter, FastAPI

from chatbot.api import documents, errors
from chatbot.api.guard import Guard
from chatbot.api.limits.gate import Gate
from chatbot.api.routes import chat, erasures, feedback, health, imports, registry, releases
from chatbot.api.services import Services

BODY_BESIDE = 2**16  # bytes of a request besides its messages, whose characters may be written as twelve
DESCRIPTION = "OpenAI-compatible chat for an online shop, with feedback, releases and reports."


def make_app(services: Services, pages: APIRouter) -> FastAPI:
    """Build the application, with `pages` beside the API; its lifespan starts the engine and follows releases."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(services.scrubber.start)
        await anyio.to_thread.run_sync(services.engine.start)
        await anyio.to_thread.run_sync(services.reconciler.start)
        services.unnamed.begin()
        _settle()
        try:
            yield
        finally:
            gc.unfreeze()
            await anyio.to_thread.run_sync(services.reconciler.stop)
            await anyio.to_thread.run_sync(services.engine.stop)
            await anyio.to_thread.run_sync(services.scrubber.close)

    app = FastAPI(
        title="shoptalk", description=DESCRIPTION, version="1", lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.services = services
    errors.install(app)
    documents.install(app)
    for module in (health, chat, feedback, registry, releases, erasures, imports):
        app.include_router(module.router)
    app.include_router(pages)

    app.add_middleware(
        Gate,
        limits=services.limits,
        known=services.known,
        proxies=services.proxies,
        unnamed=services.unnamed,
        secrets=services.secrets,
        metrics=services.metrics,
        visitor_body=12 * services.settings.visitor_characters + BODY_BESIDE,
    )
    app.add_middleware(Guard)
    return app


def _settle() -> None:
    """What is there after the start stays: Python's collector need not look at it again.

    It would take it hundreds of milliseconds each time, and it would come so seldom that what requests leave behind
    in cycles (a traceback, its frames, their bytes) would pile up.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # so that it counts only what is left
