"""The HTTP application built from Settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoptalk.app.engines import build_engine
from shoptalk.app.parts import Parts
from shoptalk.clock import MACHINE
from shoptalk.domain import new_id
from shoptalk.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from chatbot.engine.protocol import Engine


def build_api(settings: Settings, engine: Engine | None = None) -> FastAPI:
    """Build the HTTP application with everything it needs; `engine` replaces the one of the settings."""
    from chatbot.api.app import make_app
    from chatbot.api.limits.addresses import Proxies
    from chatbot.api.limits.known import KnownKeys
    from chatbot.api.limits.limiter import RequestLimiter
    from chatbot.api.limits.stores import MemoryBuckets, SharedBuckets
    from chatbot.api.limits.unnamed import UnnamedProxies
    from chatbot.api.metrics import Metrics
    from chatbot.api.recorder import Recorder
    from chatbot.api.services import Services
    from chatbot.api.work_queue import work_queues
    from chatbot.console import pages
    from chatbot.release.follower import ReleaseFollower
    from chatbot.release.loader import Loader
    from chatbot.router import Router
    from ingest.inbox.acceptance import EncryptedInbox

    parts = Parts(settings, serving=True)
    scrubber = parts.scrubber  # its processes load while the engine does
    engine = engine or build_engine(settings)
    router = Router(settings.model_alias)
    inbox = EncryptedInbox(parts.secrets)
    process = new_id("api")
    loader = Loader(parts.registry, engine, settings.adapter_slots)
    metrics, shared = Metrics(), SharedBuckets(parts.store, parts.secrets.digest, MACHINE.unix)
    buckets = shared if settings.rate_limits == "database" else MemoryBuckets(MACHINE.unix)
    return make_app(
        Services(
            settings=settings,
            store=parts.store,
            secrets=parts.secrets,
            artifacts=parts.artifacts,
            engine=engine,
            router=router,
            scrubber=scrubber,
            inbox=inbox,
            recorder=Recorder(parts.store, parts.secrets, inbox, scrubber.version),
            releases=parts.releases,
            erasures=parts.erasures,
            imports=parts.importer,
            loader=loader,
            follower=ReleaseFollower(parts.store, parts.releases, loader, engine, router, process),
            metrics=metrics,
            preparing=work_queues(settings.scrub_processes),
            limits=RequestLimiter(settings, buckets, shared, metrics.refusals),
            known=KnownKeys(parts.store),
            proxies=Proxies(settings.trusted_proxies, settings.forwarded_header),
            unnamed=UnnamedProxies(settings.unnamed_proxies_path),
        ),
        pages.router,
    )


def build_protocol(settings: Settings) -> Any:
    """Return uvicorn's HTTP protocol with a limit on connections for each address."""
    from chatbot.api.connections import bounded_protocol
    from chatbot.api.limits.addresses import Proxies

    proxies = Proxies(settings.trusted_proxies)
    return bounded_protocol(settings.address_connections, proxies.trusts, lambda peer: proxies.origin(peer, ()).group)
