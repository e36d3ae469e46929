"""A Label Studio data folder: its database, its token and its password.

Knows how to make one by copying a migrated template, not how Label Studio is run. Migrating an empty database takes 20
to 90 s and copying its 1.4 MB takes no time, so it is migrated once per `template_dir`. The template has no user and no
secrets: each folder made from it gets its own token, password and session key.
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
MIGRATED = "migrated.sqlite3"  # exists only when it is complete
COMPLETE = "template-complete"  # earlier versions made this file beside a complete `data` folder
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
        """Make the folder and its database, unless they exist. `migrate` makes an empty database in a given folder."""
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
        """Return the folder's API token, made once. `wanted` is used where the folder has none yet.

        Raises ConfigurationError where `wanted` is not a token or differs from the folder's.
        """
        if wanted is not None and (len(wanted) != TOKEN_HEX or set(wanted) - set("0123456789abcdef")):
            raise ConfigurationError("SHOPTALK_LABEL_STUDIO_TOKEN: Label Studio wants 40 lowercase hex digits")
        kept = _kept(self.path / "token", wanted or secrets.token_hex(TOKEN_HEX // 2))
        if wanted is not None and not secrets.compare_digest(kept, wanted):
            raise ConfigurationError(
                f"SHOPTALK_LABEL_STUDIO_TOKEN differs from the token this Label Studio was made with, which is in "
                f"{self.path / 'token'}",
                fix="unset the variable or use that file's content",
            )
        return kept

    def password(self) -> str:
        """Return the password of the folder's user, for the browser; made once."""
        return _kept(self.path / "password", secrets.token_urlsafe(18))


def _kept(path: Path, fresh: str) -> str:
    """Return the file's content. A missing file is made of `fresh`, atomically and readable by its owner only."""
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
    """Return the template's database; make it if it is missing or incomplete."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / MIGRATED
    with locked(folder / "lock"):
        if (folder / COMPLETE).exists() and (folder / "data" / DATABASE).exists():
            return folder / "data" / DATABASE  # made by a version that migrated in place
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=folder, prefix=".migrating-") as data:
                migrate(Path(data))
                os.replace(Path(data) / DATABASE, made)
    return made


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes. The kernel frees it if the holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
