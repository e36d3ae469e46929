"""The objects that every process shares, built from Settings: store, keys, registry and those of the stages."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from shoptalk.clock import Clock
from shoptalk.crypto import Secrets, load_secrets
from shoptalk.domain import BASE_VERSION, NO_LIMITS, AdapterRef, ApiKey, KeyLimits, Scope
from shoptalk.file_modes import tighten
from shoptalk.models.artifacts import Artifacts
from shoptalk.models.registry import Registry
from shoptalk.settings import Settings
from shoptalk.store import Store
from shoptalk.store.chat import chats, releases

if TYPE_CHECKING:
    from chatbot.erasure import Withdrawals
    from chatbot.release.moves import ReleaseMoves
    from ingest.erasure import Erasures
    from ingest.imports.batches import Batches
    from ingest.imports.importer import Importer
    from ingest.inbox.quarantine import Quarantine
    from ingest.scrub.workers.pool import ScrubberPool
    from labeling.label_studio.client import LabelStudio
    from labeling.missing import MissingTasks
    from labeling.pull import Pull
    from labeling.push import Push
    from monitoring.watcher import Watcher
    from shoptalk.ports import Eraser, Retention
    from shoptalk.rounds.control import RoundControl
    from shoptalk.rounds.requests import RoundRequests
    from training.dataset import Datasets
    from training.trainer import Trainer


log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Parts:
    """The objects that every process shares. Each is made when it is first asked for, and once."""

    settings: Settings
    #: customers wait for what this process does
    serving: bool = False
    clock: Clock = field(default_factory=Clock)

    @cached_property
    def store(self) -> Store:
        """The database, opened and at the newest schema."""
        close_home(self.settings.home)
        store = Store(self.settings.database, self.clock)
        store.migrate()
        return store

    def close(self) -> None:
        """Close the connections and end the processes of the parts that were made."""
        for name in ("store", "label_studio", "scrubber"):
            if name in self.__dict__:
                self.__dict__[name].close()

    @cached_property
    def secrets(self) -> Secrets:
        return load_secrets(self.settings)

    @cached_property
    def artifacts(self) -> Artifacts:
        return Artifacts(self.settings.artifacts)

    @cached_property
    def registry(self) -> Registry:
        return Registry(self.store, self.artifacts)

    @cached_property
    def scrubber(self) -> ScrubberPool:
        from ingest.scrub import build_scrubber

        return build_scrubber(self.settings, background=not self.serving)

    @cached_property
    def releases(self) -> ReleaseMoves:
        from chatbot.release.moves import ReleaseMoves

        return ReleaseMoves(self.store, self.registry)

    @cached_property
    def datasets(self) -> Datasets:
        from training.dataset import Datasets

        return Datasets(self.store, self.artifacts, self.settings.prompt, self.settings.holdout_share)

    @cached_property
    def trainer(self) -> Trainer:
        from shoptalk.models.basemodel import find_base_model
        from training.trainer import Trainer

        s = self.settings
        base = find_base_model(s.models_path, s.base_model)
        return Trainer(self.store, self.artifacts, self.registry, base, s.dtype, s.home / "work", s.model_alias)

    @cached_property
    def importer(self) -> Importer:
        from ingest.imports.importer import Importer
        from ingest.inbox.acceptance import EncryptedInbox
        from ingest.inbox.validation import Validator

        def open_conversation(conn: Any, opened: chats.StoredConversation) -> bool:
            return chats.open_conversation(conn, opened, "import")

        inbox, validator = EncryptedInbox(self.secrets), Validator(self.settings.languages, self.store.clock.business)
        return Importer(self.store, inbox, self.scrubber, self.secrets, open_conversation, validator)

    @cached_property
    def quarantine(self) -> Quarantine:
        from ingest.inbox.acceptance import EncryptedInbox
        from ingest.inbox.quarantine import Quarantine
        from ingest.inbox.validation import Validator

        validator = Validator(self.settings.languages, self.store.clock.business)
        return Quarantine(self.store, self.secrets, EncryptedInbox(self.secrets), self.scrubber, validator)

    @cached_property
    def batches(self) -> Batches:
        from ingest.imports.batches import Batches

        return Batches(self.store)

    @cached_property
    def label_studio(self) -> LabelStudio:
        from labeling.label_studio.client import LabelStudio

        return LabelStudio(self.settings.label_studio_url, label_studio_token(self.settings))

    @cached_property
    def push(self) -> Push:
        from labeling.push import Push

        return Push(self.store, self.label_studio, self.settings.label_studio_project)

    @cached_property
    def pull(self) -> Pull:
        from labeling.pull import Pull

        return Pull(self.store, self.label_studio, self.scrubber.scrub_correction, self.settings.label_studio_project)

    @cached_property
    def missing_tasks(self) -> MissingTasks:
        from labeling.missing import MissingTasks

        return MissingTasks(self.store, lambda: self.label_studio, self.settings.label_studio_project)

    @cached_property
    def watcher(self) -> Watcher:
        from monitoring.watcher import Watcher, WatchPlan

        s = self.settings
        return Watcher(
            self.store, self.artifacts, WatchPlan(s.model_alias, s.drift_window, s.drift_p_value), self.served
        )

    @cached_property
    def round_control(self) -> RoundControl:
        from shoptalk.rounds.control import RoundControl

        return RoundControl(self.store)

    @cached_property
    def requests(self) -> RoundRequests:
        from shoptalk.rounds.requests import RoundRequests

        return RoundRequests(self.store)

    @cached_property
    def erasures(self) -> Erasures:
        from ingest.erasure import Erasures

        return Erasures(self.store, self.secrets, self.erasers, self.settings.erasure_policy)

    @cached_property
    def withdrawals(self) -> Withdrawals:
        from chatbot.erasure import Withdrawals

        latest = timedelta(days=self.settings.erasure_days)
        ask = self.requests.ask_for_erasure
        return Withdrawals(self.store, self.releases, self.registry, latest, ask)

    def erasers(self) -> list[Eraser]:
        """Return every stage's eraser, in the order in which they work: what leads to others goes last."""
        from chatbot.erasure import ChatEraser
        from ingest.erasure import IngestEraser
        from labeling.erasure import LabelEraser
        from monitoring.erasure import ReportEraser
        from training.erasure import TrainingEraser

        return [
            IngestEraser(self.store),
            ChatEraser(self.store),
            LabelEraser(self.store, lambda: self.label_studio),
            ReportEraser(self.store, self.artifacts),
            TrainingEraser(self.store, self.artifacts, self.registry, self.settings.home / "work"),
            self.withdrawals,
        ]

    def retentions(self) -> list[Retention]:
        """Return what each stage keeps for a time only."""
        from chatbot.retention import ChatRetention
        from monitoring.retention import ReportRetention
        from training.retention import RunRetention

        s = self.settings
        return [
            ChatRetention(self.store, s.keep_answers_days),
            ReportRetention(self.store, self.artifacts, s.keep_reports_days),
            RunRetention(self.store, s.home / "work", s.keep_runs_days),
        ]

    def new_key(
        self, name: str, scopes: Iterable[Scope], owner: str | None = None, limits: KeyLimits = NO_LIMITS
    ) -> tuple[ApiKey, str]:
        """Make an API key, an owner of its own unless one is named; return it and its secret, which is not kept."""
        from chatbot.keys import create_key

        return create_key(self.store, name, scopes, owner, limits)

    def revoke_key(self, key_id: str) -> None:
        """Take a key out of use; raise NotFound."""
        from chatbot.keys import revoke_key

        revoke_key(self.store, key_id)

    def rotate_key(self) -> dict[str, int]:
        """Encrypt everything at rest with a new key; return the number of bodies by table."""
        from shoptalk.app.key_rotation import rotate
        from shoptalk.crypto import key_file
        from shoptalk.store.chat import answers
        from shoptalk.store.ingest import inbox, quarantine

        tables = {"arrivals": inbox, "quarantine": quarantine, "answers": answers}
        file = None if self.settings.secret_key is not None else key_file(self.settings.home)
        return rotate(self.store, self.secrets, tables, file)

    def compared_with(self) -> AdapterRef:
        """Return the adapter that a candidate must be better than; see `releases.compared_with`."""
        with self.store.read() as conn:
            return AdapterRef.parse(releases.compared_with(conn, self.settings.model_alias))

    def served(self) -> AdapterRef:
        """Return the adapter that the shop's alias serves; see `releases.served`."""
        with self.store.read() as conn:
            served = releases.served(conn, self.settings.model_alias)
        return AdapterRef.parse(served) if served else AdapterRef(self.settings.model_alias, BASE_VERSION)


def close_home(home: Path) -> None:
    """Remove other users' rights from a data folder that an earlier version made, and log that."""
    changed = tighten(home)
    if not changed:
        return
    words = "took other users' rights from files in the data folder"
    if structlog.is_configured():
        log.warning(words, folder=str(home), files=len(changed))
    else:  # a command whose output may be read by a program
        sys.stderr.write(f"shoptalk: {words} {home} ({len(changed)})\n")


def label_studio_token(settings: Settings) -> str | None:
    """Return the API token of the settings, else of the local Label Studio's own file; None where there is none."""
    if settings.label_studio_token is not None:
        return settings.label_studio_token.get_secret_value()
    path = settings.home / "label-studio" / "token"
    return path.read_text().strip() if path.exists() else None
