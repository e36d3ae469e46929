"""Builds each process's objects from Settings. The one place where stages meet; imports them when called."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from shoptalk.crypto import Secrets, load_secrets
from shoptalk.domain import (
    NO_LIMITS,
    AdapterRef,
    ApiKey,
    GateDecision,
    KeyLimits,
    Message,
    Role,
    Scope,
    Verdict,
    new_id,
)
from shoptalk.errors import ScrubbingFailed
from shoptalk.file_modes import tighten
from shoptalk.models.artifacts import Artifacts
from shoptalk.models.registry import Registry
from shoptalk.settings import Settings
from shoptalk.store import Store, rounds
from shoptalk.store.chat import chats, releases
from shoptalk.store.ingest import turns

if TYPE_CHECKING:
    from fastapi import FastAPI

    from chatbot.engine.embedded import EmbeddedEngine
    from chatbot.engine.offline import OfflineEngine
    from chatbot.engine.protocol import Engine
    from chatbot.engine.vllm.adapters import AdapterFolder
    from chatbot.engine.vllm.client import VllmClient
    from chatbot.engine.vllm.engine import VllmEngine
    from chatbot.erasure import Withdrawals
    from chatbot.release.moves import Releases
    from ingest.erasure import Erasures
    from ingest.imports.batches import Batches
    from ingest.imports.importer import Importer
    from ingest.inbox.quarantine import Quarantine
    from ingest.scrub.workers.pool import ScrubberPool
    from ingest.scrubfile import ScrubResult
    from labeling.client import LabelStudio
    from labeling.pull import Pull
    from labeling.push import Push
    from labeling.server import LabelStudioServer
    from monitoring.watcher import Watcher
    from shoptalk.ports import Eraser
    from shoptalk.processes.heartbeat import Heartbeat
    from shoptalk.processes.worker import Worker
    from shoptalk.store.training.datasets import Dataset
    from shoptalk.store.training.evaluations import Evaluation
    from training.dataset import Datasets
    from training.evaluate import Evaluator, Judge, Progress
    from training.recipe import Recipe
    from training.trainer import OnStep, Trainer


log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Parts:
    """What every process shares. Each part is made when first asked for."""

    settings: Settings
    serving: bool = False  # customers wait for what this process does

    @cached_property
    def store(self) -> Store:
        """Opened, at the newest schema."""
        close_home(self.settings.home)
        store = Store(self.settings.database)
        store.migrate()
        return store

    def close(self) -> None:
        """Close the connections that were opened, and end the processes that were started."""
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
    def releases(self) -> Releases:
        from chatbot.release.moves import Releases

        return Releases(self.store, self.registry)

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
        from ingest.inbox.acceptance import ArrivalInbox
        from ingest.inbox.validation import Validator

        def open_conversation(conn: Any, opened: chats.Opened) -> bool:
            return chats.open_conversation(conn, opened, "import")

        inbox, validator = ArrivalInbox(self.secrets), Validator(self.settings.languages)
        return Importer(self.store, inbox, self.scrubber, self.secrets, open_conversation, validator)

    @cached_property
    def quarantine(self) -> Quarantine:
        from ingest.inbox.acceptance import ArrivalInbox
        from ingest.inbox.quarantine import Quarantine
        from ingest.inbox.validation import Validator

        validator = Validator(self.settings.languages)
        return Quarantine(self.store, self.secrets, ArrivalInbox(self.secrets), self.scrubber, validator)

    @cached_property
    def batches(self) -> Batches:
        from ingest.imports.batches import Batches

        return Batches(self.store)

    @cached_property
    def label_studio(self) -> LabelStudio:
        from labeling.client import LabelStudio

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
    def watcher(self) -> Watcher:
        from monitoring.watcher import Watcher

        s = self.settings
        return Watcher(self.store, self.artifacts, s.drift_window, s.drift_p_value)

    @cached_property
    def erasures(self) -> Erasures:
        from ingest.erasure import Erasures

        return Erasures(self.store, self.secrets, self.erasers, self.settings.erasure_policy)

    @cached_property
    def withdrawals(self) -> Withdrawals:
        from chatbot.erasure import Withdrawals

        return Withdrawals(self.store, self.releases, self.registry)

    def erasers(self) -> list[Eraser]:
        """Of every stage, in the order in which they work: what leads to others goes last."""
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

    def new_key(
        self, name: str, scopes: Iterable[Scope], owner: str | None = None, limits: KeyLimits = NO_LIMITS
    ) -> tuple[ApiKey, str]:
        """A new API key and its secret, which is not kept; an owner of its own unless one is named."""
        from chatbot.keys import create_key

        return create_key(self.store, name, scopes, owner, limits)

    def revoke_key(self, key_id: str) -> None:
        """Take a key out of use; raises NotFound."""
        from chatbot.keys import revoke_key

        revoke_key(self.store, key_id)

    def rotate_key(self) -> dict[str, int]:
        """A new key for everything at rest; how many bodies of each table were sealed anew."""
        from shoptalk.app.key_rotation import rotate
        from shoptalk.crypto import key_file
        from shoptalk.store.chat import answers
        from shoptalk.store.ingest import inbox as arrivals
        from shoptalk.store.ingest import quarantine

        tables = {"arrivals": arrivals, "quarantine": quarantine, "answers": answers}
        file = None if self.settings.secret_key is not None else key_file(self.settings.home)
        return rotate(self.store, self.secrets, tables, file)

    @property
    def feature_version(self) -> str:
        return turns.FEATURES

    def scrub_texts(self, texts: Sequence[str]) -> list[str]:
        """Each text scrubbed by itself; those that cannot be are left out."""
        found = []
        for text in texts:
            with contextlib.suppress(ScrubbingFailed):
                found.append(self.scrubber.scrub([Message("user", text)]).final[0])
        return found

    def read_conversations(self, path: Path) -> tuple[list[tuple[str, list[tuple[Role, str]]]], list[str]]:
        """A conversation file, raw: (id, (role, text) of each turn), and what is wrong with other lines."""
        from ingest.formats.files import Problem, read_conversations

        found, problems = [], []
        for item in read_conversations(path):
            if isinstance(item, Problem):
                problems.append(str(item))
            else:
                found.append((item.id, [(turn.role, turn.text) for turn in item.turns]))
        return found, problems

    def add_dataset(self, dataset: Dataset) -> str:
        """Register a dataset that was not made of labels; returns its id."""
        from shoptalk.store.training import datasets

        with self.store.write() as conn:
            datasets.add(conn, dataset, [])
        return dataset.id

    def annotate(self, decide: Callable[[Mapping[str, Any]], dict[str, Any] | None], label_studio: bool) -> int:
        """Let a script answer every open task; returns how many. Without Label Studio, labels are made directly."""
        from labeling.annotate import ScriptedAnnotator
        from labeling.config import label_config
        from labeling.direct import DirectAnnotator
        from labeling.results import Answer

        def answer(data: Mapping[str, Any]) -> Answer | None:
            found = decide(data)
            return Answer(**found) if found else None

        if not label_studio:
            return DirectAnnotator(self.store, self.scrubber.scrub_correction, answer).work()
        project = self.label_studio.ensure_project(self.settings.label_studio_project, label_config())
        return ScriptedAnnotator(self.label_studio, answer).work(project)

    def served(self) -> AdapterRef:
        """What the shop's alias should serve now."""
        with self.store.read() as conn:
            desired = releases.desired_of(conn, self.settings.model_alias)
        return AdapterRef.parse(desired.adapter) if desired else AdapterRef(self.settings.model_alias, 0)


def close_home(home: Path) -> None:
    """Take other users' rights from a data folder that an earlier version made, and say so."""
    changed = tighten(home)
    if not changed:
        return
    words = "took other users' rights from files in the data folder"
    if structlog.is_configured():
        log.warning(words, folder=str(home), files=len(changed))
    else:  # a command whose output may be read by a program
        sys.stderr.write(f"shoptalk: {words} {home} ({len(changed)})\n")


def label_studio_token(settings: Settings) -> str | None:
    """From settings, else the local Label Studio's own file."""
    if settings.label_studio_token is not None:
        return settings.label_studio_token.get_secret_value()
    path = settings.home / "label-studio" / "token"
    return path.read_text().strip() if path.exists() else None


def embedded_engine(settings: Settings, *, background: bool = False) -> EmbeddedEngine:
    """The engine on the base model of this machine; raises BaseModelMissing."""
    from chatbot.engine.embedded import EmbeddedEngine, EngineLimits
    from shoptalk.models.basemodel import choose_dtype, find_base_model

    limits = EngineLimits(
        settings.max_batch,
        settings.max_context,
        4096 if background else settings.max_queue,
        settings.adapter_slots,
        settings.max_rank,
        settings.threads,
        background,
        settings.prefill_chunk,
        settings.prefix_cache_mb * 2**20,
        settings.visitor_share,
        settings.visitor_wait_s,
        settings.kernels_path,
    )
    base = find_base_model(settings.models_path, settings.base_model)
    return EmbeddedEngine(base, choose_dtype(settings.dtype), limits)


def build_engine(settings: Settings) -> Engine:
    if settings.engine == "null":
        from chatbot.engine.null import NullEngine

        return NullEngine(settings.max_context, settings.adapter_slots)
    if settings.engine == "vllm":
        return vllm_engine(settings)
    return embedded_engine(settings)


def vllm_engine(settings: Settings) -> VllmEngine:
    """The engine over a vLLM server; it looks for that when it starts."""
    from chatbot.engine.vllm.engine import VllmEngine, VllmLimits
    from shoptalk.models.basemodel import ChatTokenizer, find_base_model, load_tokenizer

    limits = VllmLimits(
        settings.max_batch,
        settings.max_context,
        settings.max_queue,
        settings.adapter_slots,
        settings.max_rank,
        settings.vllm_wait_s,
        settings.visitor_share,
        settings.visitor_wait_s,
    )
    base = find_base_model(settings.models_path, settings.base_model)
    tokenizer, folder = ChatTokenizer(load_tokenizer(base)), adapter_folder(settings)
    return VllmEngine(base, tokenizer, vllm_client(settings), folder, limits)


def adapter_folder(settings: Settings) -> AdapterFolder:
    """Where adapters lie for vLLM, not yet opened."""
    from chatbot.engine.vllm.adapters import AdapterFolder

    mode = int(settings.vllm_adapters_mode, 8)
    return AdapterFolder(settings.vllm_adapters_path, mode, settings.vllm_adapters_group)


def vllm_client(settings: Settings) -> VllmClient:
    from chatbot.engine.vllm.client import VllmClient

    key = settings.vllm_api_key.get_secret_value() if settings.vllm_api_key else None
    return VllmClient(settings.vllm_url, key, settings.request_timeout_s)


def examine_vllm(settings: Settings, wait_s: float) -> str:
    """What vLLM is there; raises ShoptalkError with the mend where it is away after `wait_s`, or will not do."""
    from chatbot.engine.vllm.server import await_server
    from shoptalk.models.basemodel import find_base_model

    base = find_base_model(settings.models_path, settings.base_model)

    async def ask() -> str:
        async with vllm_client(settings) as client:
            found = await await_server(client, base, settings.max_context, wait_s)
        return f"{found.version} at {client.url} serves {found.model}"

    return asyncio.run(ask())


def build_api(settings: Settings, engine: Engine | None = None) -> FastAPI:
    """The HTTP application with everything it needs."""
    from chatbot.api.app import make_app
    from chatbot.api.limits.addresses import Proxies
    from chatbot.api.limits.known import KnownKeys
    from chatbot.api.limits.limiter import Limits
    from chatbot.api.limits.stores import MemoryBuckets, SharedBuckets
    from chatbot.api.limits.unnamed import UnnamedProxies
    from chatbot.api.lines import lines
    from chatbot.api.metrics import Metrics
    from chatbot.api.recorder import Recorder
    from chatbot.api.services import Services
    from chatbot.release.loader import Loader
    from chatbot.release.reconciler import Reconciler
    from chatbot.router import Router
    from ingest.inbox.acceptance import ArrivalInbox

    parts = Parts(settings, serving=True)
    scrubber = parts.scrubber  # its processes load while the engine does
    engine = engine or build_engine(settings)
    router = Router(settings.model_alias)
    inbox = ArrivalInbox(parts.secrets)
    process = new_id("api")
    loader = Loader(parts.registry, engine, settings.adapter_slots)
    metrics, shared = Metrics(), SharedBuckets(parts.store, parts.secrets.digest, time.time)
    buckets = shared if settings.rate_limits == "database" else MemoryBuckets(time.time)
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
            reconciler=Reconciler(parts.store, loader, engine, router, process),
            metrics=metrics,
            preparing=lines(settings.scrub_processes),
            limits=Limits(settings, buckets, shared, metrics.refusals),
            known=KnownKeys(parts.store),
            proxies=Proxies(settings.trusted_proxies, settings.forwarded_header),
            unnamed=UnnamedProxies(settings.unnamed_proxies_path),
        )
    )


def build_protocol(settings: Settings) -> Any:
    """uvicorn's protocol, with bounds for each address."""
    from chatbot.api.connections import bounded_protocol
    from chatbot.api.limits.addresses import Proxies

    proxies = Proxies(settings.trusted_proxies)
    return bounded_protocol(settings.address_connections, proxies.trusts, lambda peer: proxies.origin(peer, ()).group)


def read_source(source: str, format: str, columns: str | None, roles: str | None, split: str) -> Iterator[Any]:
    """Conversations of a file or data set; raises InvalidInput."""
    from ingest.formats.sources import Source, pairs

    return Source(source, format, pairs(columns, "columns"), pairs(roles, "roles"), split).read()  # type: ignore[arg-type]


def scrub_file(
    settings: Settings, source: Path, target: Path, spans: bool, progress: Callable[[int], None]
) -> ScrubResult:
    """`ingest.scrubfile` with the shop's own patterns; needs no database."""
    from ingest import scrubfile
    from ingest.scrub import build_scrubber

    with contextlib.closing(build_scrubber(settings, background=True)) as scrubber:
        return scrubfile.scrub_file(scrubber, source, target, spans=spans, progress=progress)


def offline_engine(parts: Parts) -> OfflineEngine:
    """The serving engine in the background, for evaluation."""
    from chatbot.engine.offline import OfflineEngine

    engine = embedded_engine(parts.settings, background=True)
    resolve: Callable[[AdapterRef], Any] = lambda ref: parts.registry.resolve(ref, base_sha256=engine.base_sha256)  # noqa: E731
    return OfflineEngine(engine, resolve, max_tokens=64)


@dataclass(frozen=True)
class StageWork:
    """See `shoptalk.rounds.steps.Work`."""

    parts: Parts
    on_step: OnStep | None = None
    progress: Progress | None = None

    def sample(self, round_id: str) -> int:
        from labeling.sampling import sample

        novelty = self.parts.watcher.novelty(round_id)
        chosen = sample(
            self.parts.store, round_id, self.parts.settings.sample_size, random.Random(round_id), novelty=novelty
        )
        return len(chosen)

    def freeze(self, round_id: str) -> str:
        return self.parts.datasets.freeze(round_id).id

    def train(self, run_id: str, dataset_id: str) -> str:
        return str(self.parts.trainer.train(run_id, dataset_id, recipe(self.parts.settings), self.on_step).ref)

    def evaluate(self, evaluation_id: str, adapter: str, dataset_id: str) -> Verdict:
        with offline_engine(self.parts) as engine:
            evaluator = build_evaluator(self.parts, engine)
            dataset = self.parts.datasets.read(dataset_id)
            candidate, live = AdapterRef.parse(adapter), self.parts.served()
            return evaluator.evaluate(evaluation_id, candidate, live, dataset, self.progress).verdict

    def release(self, adapter: str, evaluation_id: str, actor: str) -> str:
        with self.parts.store.read() as conn:
            known = [r for r in releases.newest(conn) if r.evaluation_id == evaluation_id]
        alias = self.parts.settings.model_alias
        release = known[0] if known else self.parts.releases.start(alias, adapter, actor, evaluation_id=evaluation_id)
        if release.state.value == "pending":
            self.parts.releases.promote(release.id, actor, "the gate said promote")
        return release.id


def build_evaluator(parts: Parts, engine: Judge) -> Evaluator:
    from training.evaluate import Evaluator
    from training.gate import GateLimits

    return Evaluator(parts.store, engine, GateLimits(min_examples=parts.settings.gate_min_examples))


def recipe(settings: Settings) -> Recipe:
    from training.recipe import Recipe

    return Recipe(
        steps=settings.train_steps,
        batch=settings.train_batch,
        rank=settings.train_rank,
        alpha=2 * settings.train_rank,
        learning_rate=settings.learning_rate,
        threads=settings.threads,
    )


def marked_trainer(parts: Parts, name: str, steps: int, batch: int) -> tuple[Trainer, Recipe]:
    """A trainer for a small adapter of another name, for the demo's swap test."""
    from shoptalk.models.basemodel import find_base_model
    from training.recipe import Recipe
    from training.trainer import Trainer

    s = parts.settings
    base = find_base_model(s.models_path, s.base_model)
    trainer = Trainer(parts.store, parts.artifacts, parts.registry, base, s.dtype, s.home / "work", name)
    return trainer, Recipe(
        steps=steps, batch=batch, rank=8, alpha=16, learning_rate=2e-3, max_tokens=192, threads=s.threads
    )


def build_worker(settings: Settings) -> Worker:
    """The worker: drain, features, Label Studio, drift and rounds."""
    from ingest.features.computer import FeatureComputer
    from ingest.features.topics import Topics
    from ingest.inbox.drain import Drain
    from shoptalk.processes.heartbeat import EVERY_S
    from shoptalk.processes.worker import Reconciler, Worker
    from shoptalk.rounds.steps import RoundPlan, RoundSteps
    from shoptalk.rounds.workflow import Jobs

    parts = Parts(settings)
    drain = Drain(parts.store, parts.secrets, parts.scrubber)
    features = FeatureComputer(parts.store)
    plan = RoundPlan(settings.labels_wanted, settings.labels_wait_s, settings.auto_promote)
    jobs = Jobs(settings.jobs_database, settings.home / "executors", RoundSteps(parts.store, StageWork(parts), plan))
    reconcilers = [
        Reconciler("alive", EVERY_S, heartbeat(settings).beat),
        Reconciler("drain", 0.5, drain.run_once),
        Reconciler("features", 2.0, features.run_once),
        Reconciler("topics", 60.0, Topics(parts.store).run_once),
        Reconciler("erasures", 5.0, parts.erasures.run_once),
        Reconciler("batches", 2.0, parts.batches.run_once),
        Reconciler("withdrawals", 5.0, parts.withdrawals.run_once),
        Reconciler("drift", settings.drift_check_s, parts.watcher.run_once),
    ]
    if settings.round_every_s:
        schedule: Callable[[], object] = lambda: parts.watcher.on_schedule(settings.round_every_s)  # noqa: E731
        reconcilers.append(Reconciler("schedule", min(60.0, settings.round_every_s), schedule))
    # asked anew each time: a local Label Studio makes its token at its first start, which may be later than ours
    reconcilers.append(Reconciler("push", 2.0, lambda: parts.push.run_once() if label_studio_token(settings) else None))
    reconcilers.append(Reconciler("pull", 2.0, SparingPull(parts).run_once))
    return Worker(parts.store, jobs, reconcilers)


def heartbeat(settings: Settings) -> Heartbeat:
    """The sign of life of this host's workers."""
    from shoptalk.processes.heartbeat import Heartbeat

    return Heartbeat(settings.home / "executors")


class SparingPull:
    """Pulls often while a round waits for labels, else once a minute: a pull keeps Label Studio busy for a while."""

    def __init__(self, parts: Parts, calm_s: float = 60.0) -> None:
        self._parts, self._calm, self._last = parts, calm_s, -calm_s

    def run_once(self) -> object:
        """Pull if it is time to."""
        with self._parts.store.read() as conn:
            waiting = any(r.state == "waiting" for r in rounds.unfinished(conn))
        due = waiting or time.monotonic() - self._last >= self._calm
        if not due or not label_studio_token(self._parts.settings):
            return None
        result = self._parts.pull.run_once()
        self._last = time.monotonic()  # only now: after a failure the worker decides when to try again
        return result


def judge_again(parts: Parts, record: Evaluation) -> GateDecision:
    """The gate's verdict on recorded evidence: the same as then, or something was tampered with."""
    from training.evaluate import replay
    from training.gate import GateLimits

    return replay(record, GateLimits(min_examples=parts.settings.gate_min_examples))


def label_studio_server(settings: Settings) -> LabelStudioServer:
    """A local Label Studio for this data folder, not yet started (enter it to start)."""
    from labeling.server import LabelStudioServer

    close_home(settings.home)
    port = urlsplit(settings.label_studio_url).port or 8081
    template = settings.label_studio_venv / "template"
    return LabelStudioServer(settings.label_studio_venv, settings.home / "label-studio", port, template_dir=template)
