"""A Label Studio data folder: its database, its token and its password.

Knows how to make one by copying a migrated template, not how Label Studio is run. Migrating an empty database
takes 20 to 90 s, copying 1.4 MB none, so it is done once per `template_dir`. The template has no user and no
secrets: each folder made of it gets its own token, password and session key.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shoptalk.errors import ConfigurationError

DATABASE = "label_studio.sqlite3"
MIGRATED = "migrated.sqlite3"  # there when it is whole
COMPLETE = "template-complete"  # what earlier versions put beside a whole `data` folder
TOKEN_HEX = 40


class DataFolder:
    """One Label Studio data folder, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def database(self) -> Path:
        return self.path / DATABASE

    @property
    def log(self) -> Path:
        return self.path / "label-studio.log"

    def prepare(self, template_dir: Path | None, migrate: Callable[[Path], None]) -> None:
        """Make the folder if need be. `migrate` makes an empty database in the folder it is given."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        with locked(self.path / "lock"):
            if self.database.exists():
                return
            if template_dir is None:
                migrate(self.path)
            else:
                source = _template(template_dir.absolute(), migrate)
                part = self.path / f"{DATABASE}.part"
                shutil.copyfile(source, part)
                os.replace(part, self.database)
            self.database.chmod(0o600)

    def token(self, wanted: str | None = None) -> str:
        """The folder's API token, made once. `wanted` is used where the folder has none yet."""
        if wanted is not None and (len(wanted) != TOKEN_HEX or set(wanted) - set("0123456789abcdef")):
            raise ConfigurationError("SHOPTALK_LABEL_STUDIO_TOKEN: Label Studio wants 40 lower-case hex digits")
        kept = _kept(self.path / "token", wanted or secrets.token_hex(TOKEN_HEX // 2))
        if wanted is not None and not secrets.compare_digest(kept, wanted):
            raise ConfigurationError(
                f"SHOPTALK_LABEL_STUDIO_TOKEN differs from the token this Label Studio was made with, which is in "
                f"{self.path / 'token'}; unset the variable or use that file's content"
            )
        return kept

    def password(self) -> str:
        """The password of the folder's user, for the browser; made once."""
        return _kept(self.path / "password", secrets.token_urlsafe(18))


def _kept(path: Path, fresh: str) -> str:
    """The file's content; a missing file is made, with `fresh`, atomically and readable by its owner only."""
    if not path.exists():
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(fresh)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)  # unlike a rename, never replaces what another process made meanwhile
        except FileExistsError:
            pass
        finally:
            part.unlink()
    return path.read_text().strip()


def _template(folder: Path, migrate: Callable[[Path], None]) -> Path:
    """The template's database, made if it is missing or was left half-made."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / MIGRATED
    with locked(folder / "lock"):
        if (folder / COMPLETE).exists() and (folder / "data" / DATABASE).exists():
            return folder / "data" / DATABASE  # of a version that migrated in place
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=folder, prefix=".migrating-") as data:
                migrate(Path(data))
                os.replace(Path(data) / DATABASE, made)
    return made


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the kernel frees it should the holder die."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
