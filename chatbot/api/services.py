"""The services that the API's routes use, made by `shoptalk.app.api` and kept in the app's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request

from chatbot.api.limits.addresses import Proxies
from chatbot.api.limits.known import KnownKeys
from chatbot.api.limits.limiter import RequestLimiter
from chatbot.api.limits.unnamed import UnnamedProxies
from chatbot.api.metrics import Metrics
from chatbot.api.recorder import Recorder
from chatbot.api.work_queue import WorkQueue
from chatbot.engine.protocol import Engine, Lane
from chatbot.release.follower import ReleaseFollower
from chatbot.release.loader import Loader
from chatbot.release.moves import ReleaseMoves
from chatbot.router import Router
from shoptalk.crypto import Secrets
from shoptalk.models.artifacts import Artifacts
from shoptalk.ports import ErasureService, Imports, Inbox, ScrubberService
from shoptalk.settings import Settings
from shoptalk.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a request may touch.

    As many texts are scrubbed at once as there are processes for it, and adapters are loaded one after the other.
    Requests wait for these in queues, without occupying a thread; visitors have a queue of their own, for half of the
    processes.
    """

    settings: Settings
    store: Store
    secrets: Secrets
    artifacts: Artifacts
    engine: Engine
    router: Router
    scrubber: ScrubberService
    inbox: Inbox
    recorder: Recorder
    releases: ReleaseMoves
    erasures: ErasureService
    imports: Imports
    loader: Loader
    follower: ReleaseFollower
    metrics: Metrics
    limits: RequestLimiter
    known: KnownKeys
    proxies: Proxies
    unnamed: UnnamedProxies
    preparing: Mapping[Lane, WorkQueue]
    loading: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    importing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))


def services_of(request: Request) -> Services:
    """Return the services of the application that a request came to."""
    return cast(Services, request.app.state.services)


async def _services(request: Request) -> Services:
    """Return `services_of`; being async it costs no change of threads."""
    return services_of(request)


ServicesDep = Annotated[Services, Depends(_services)]
"""A route's parameter of this type is the application's services."""
