"""Turns failures of the storage into a problem and a fix in words. Knows no table and quotes no value."""

from __future__ import annotations

import errno
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shoptalk.errors import ShoptalkError

# (problem, fix)
_FULL: Final = ("the disk is full", "make room, then everything goes on: nothing acknowledged is lost")
_READ_ONLY: Final = (
    "the data folder cannot be written",
    "let this user write it, or set SHOPTALK_HOME to another one",
)
_SAID: Final = (
    ("disk is full", _FULL),
    ("no space left", _FULL),
    ("readonly database", _READ_ONLY),
    ("unable to open database file", _READ_ONLY),
    ("database is locked", ("another process holds the database", "if none should, end it")),
    ("malformed", ("the database file is damaged", "restore it from a backup")),
    ("not a database", ("the database file is damaged, or is none", "restore it from a backup")),
    ("connection", ("the database cannot be reached", "check SHOPTALK_DATABASE_URL, and that the server runs")),
)
_NUMBERS: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
}


def explain(error: SQLAlchemyError | OSError) -> ShoptalkError:
    """Return the same failure in words: with its fix where that is known, else with the error's kind only."""
    if isinstance(error, OSError):
        said = f"storage failed: {error.strerror or type(error).__name__}"
        problem, fix = _NUMBERS.get(error.errno or 0, (f"{said}: {error.filename}" if error.filename else said, None))
        return ShoptalkError(problem, fix=fix)
    said = str(error.orig).lower() if isinstance(error, DBAPIError) else ""
    unknown = (f"the database failed: {type(getattr(error, 'orig', None) or error).__name__}", None)
    problem, fix = next((words for part, words in _SAID if part in said), unknown)
    return ShoptalkError(problem, fix=fix)


def in_words(error: BaseException) -> str:
    """Return a failure for people; of one that is not ours its kind, since its message may quote a value."""
    if isinstance(error, SQLAlchemyError | OSError):
        return explain(error).message
    return error.message if isinstance(error, ShoptalkError) else type(error).__name__
