"""Stores files under their content hash, in a local folder or any object store that fsspec reaches.

Does not know what the files mean. A file is written under another name, synced and renamed. Its name is its SHA-256, so
a file that exists is complete, and every read checks the bytes again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from uuid import uuid4

import fsspec

from shoptalk.errors import ArtifactCorrupt, ArtifactMissing


class Artifacts:
    """A content-addressed store at an fsspec URL or path."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def put(self, data: bytes) -> str:
        """Store bytes and return their SHA-256 in hex. Storing the same bytes again changes nothing."""
        sha = hashlib.sha256(data).hexdigest()
        path = self._path(sha)
        if self._fs.exists(path):
            return sha
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        if self._local:
            aside = f"{path}.{uuid4().hex}.part"
            with open(aside, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.replace(aside, path)
            _sync_folder(Path(path).parent)
        else:
            self._fs.pipe_file(path, data)  # object stores show an object whole or not at all
        return sha

    def get(self, sha: str) -> bytes:
        """Return the bytes stored under a hash; raise ArtifactMissing or ArtifactCorrupt."""
        try:
            data: bytes = self._fs.cat_file(self._path(sha))
        except FileNotFoundError:
            raise ArtifactMissing(f"artifact {sha} is not in the store") from None
        found = hashlib.sha256(data).hexdigest()
        if found != sha:
            raise ArtifactCorrupt(f"artifact {sha} was altered: its bytes now hash to {found}")
        return data

    def delete(self, sha: str) -> None:
        """Delete a file; do nothing where it does not exist."""
        path = self._path(sha)
        if self._fs.exists(path):
            self._fs.rm_file(path)

    def path_of(self, sha: str) -> str:
        """Return the path of a file, for messages and tests."""
        return self._path(sha)

    def _path(self, sha: str) -> str:
        if len(sha) != 64 or not set(sha) <= set("0123456789abcdef"):
            raise ArtifactMissing(f"'{sha[:80]}' is not a SHA-256")
        return f"{self._root}/{sha[:2]}/{sha}"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
