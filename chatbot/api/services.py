"""What the API's routes need, made by `shoptalk.app.compose` and kept in the app's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from anyio import CapacityLimiter
from fastapi import Request

from chatbot.api.limits.addresses import Proxies
from chatbot.api.limits.known import KnownKeys
from chatbot.api.limits.limiter import Limits
from chatbot.api.limits.unnamed import UnnamedProxies
from chatbot.api.lines import Line
from chatbot.api.metrics import Metrics
from chatbot.api.recorder import Recorder
from chatbot.engine.protocol import Engine, Lane
from chatbot.release.loader import Loader
from chatbot.release.moves import Releases
from chatbot.release.reconciler import Reconciler
from chatbot.router import Router
from shoptalk.crypto import Secrets
from shoptalk.models.artifacts import Artifacts
from shoptalk.ports import Erasures, Imports, Inbox, ScrubberService
from shoptalk.settings import Settings
from shoptalk.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a request may touch.

    As many texts are scrubbed at once as there are processes for it, and adapters are loaded by turns. So those who
    wait for these wait in a line and keep no thread from others; visitors have a line of their own, for half of them.
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
    releases: Releases
    erasures: Erasures
    imports: Imports
    loader: Loader
    reconciler: Reconciler
    metrics: Metrics
    limits: Limits
    known: KnownKeys
    proxies: Proxies
    unnamed: UnnamedProxies
    preparing: Mapping[Lane, Line]
    loading: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    importing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))


def services_of(request: Request) -> Services:
    """FastAPI dependency."""
    return cast(Services, request.app.state.services)
