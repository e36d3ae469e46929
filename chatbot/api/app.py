"""The HTTP application: routes, pages and middleware on the given services. Its lifespan starts and stops the engine.

Knows no settings source and makes no service; `shoptalk.app.api` does.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import APIRouter, FastAPI

from chatbot.api import errors, openapi
from chatbot.api.guard import Guard
from chatbot.api.limits.gate import Gate
from chatbot.api.routes import chat, erasures, feedback, health, imports, models, registry, releases, rounds
from chatbot.api.services import Services

BODY_BESIDE = 2**16  # bytes of a request besides its messages, whose characters may be written as twelve
DESCRIPTION = "OpenAI-compatible chat for an online shop, with feedback, releases and reports."


def make_app(services: Services, pages: APIRouter) -> FastAPI:
    """Build the application, with `pages` beside the API; its lifespan starts the engine and follows releases."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(services.scrubber.start)
        await anyio.to_thread.run_sync(services.engine.start)
        await anyio.to_thread.run_sync(services.follower.start)
        services.unnamed.begin()
        _freeze_objects()
        try:
            yield
        finally:
            gc.unfreeze()
            await anyio.to_thread.run_sync(services.follower.stop)
            await anyio.to_thread.run_sync(services.engine.stop)
            await anyio.to_thread.run_sync(services.scrubber.close)

    # FastAPI's own /openapi.json is public, and its /docs loads scripts from another host; `pages` has ours
    app = FastAPI(title="shoptalk", description=DESCRIPTION, version="1", lifespan=lifespan, openapi_url=None)
    app.state.services = services
    errors.install(app)
    openapi.install(app)
    for module in (health, chat, feedback, models, registry, releases, rounds, erasures, imports):
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


def _freeze_objects() -> None:
    """Exclude the objects that exist after the start from Python's garbage collection: they stay anyway.

    A collection of them would take hundreds of milliseconds, and would come so seldom that what requests leave behind
    in cycles (a traceback, its frames, their bytes) would pile up.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # so that it counts only what is left
