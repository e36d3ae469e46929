"""What the API's routes need, made by `shoptalk.compose` and kept in the app's state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from chatbot.api.metrics import Metrics
from chatbot.api.recorder import Recorder
from chatbot.engine.protocol import Engine
from chatbot.release.loader import Loader
from chatbot.release.moves import Releases
from chatbot.release.reconciler import Reconciler
from chatbot.router import Router
from shoptalk.artifacts import Artifacts
from shoptalk.ports import Inbox, Scrubber
from shoptalk.secrets import Secrets
from shoptalk.settings import Settings
from shoptalk.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a request may touch."""

    settings: Settings
    store: Store
    secrets: Secrets
    artifacts: Artifacts
    engine: Engine
    router: Router
    scrubber: Scrubber
    inbox: Inbox
    recorder: Recorder
    releases: Releases
    loader: Loader
    reconciler: Reconciler
    metrics: Metrics


def services_of(request: Request) -> Services:
    """FastAPI dependency."""
    return cast(Services, request.app.state.services)
