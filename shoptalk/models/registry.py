"""The adapter registry: publishes a version and resolves one to verified bytes. Knows no model and no alias.

Files are content-addressed, so the row's hashes are the files' names and every read is checked. The row is
written last: an adapter that can be found is complete.
"""

from __future__ import annotations

from shoptalk.domain import Adapter, AdapterRef, ErasurePolicy
from shoptalk.errors import AdapterRefused, ArtifactCorrupt, ArtifactMissing, NotFound
from shoptalk.models.adapterfile import AdapterFiles, verify
from shoptalk.models.artifacts import Artifacts
from shoptalk.store import Store, adapters, erasures
from shoptalk.store.training import datasets


class Registry:
    """Adapters by name and version."""

    def __init__(self, store: Store, artifacts: Artifacts) -> None:
        self._store, self._artifacts = store, artifacts

    def publish(
        self,
        name: str,
        files: AdapterFiles,
        *,
        base_sha256: str,
        dataset_id: str | None = None,
        run_id: str | None = None,
    ) -> Adapter:
        """Verify and store the files as the next version; return its entry. One run publishes only once."""
        facts = verify(files)
        weights, config = self._artifacts.put(files.weights), self._artifacts.put(files.config)
        with self._store.write() as conn:
            ref = AdapterRef(name, adapters.next_version(conn, name))
            if run_id is not None and (known := adapters.of_run(conn, run_id)):
                return known
            size = len(files.weights)
            adapter = Adapter(
                ref=ref,
                weights_sha256=weights,
                config_sha256=config,
                size_bytes=size,
                rank=facts.rank,
                base_sha256=base_sha256,
                dataset_id=dataset_id,
                run_id=run_id,
                created_at=self._store.now(),
            )
            adapters.add(conn, adapter)
            trained_on = datasets.find(conn, dataset_id) if dataset_id else None
            if trained_on is not None and trained_on.erasure_id:  # while it was being trained
                erasure = erasures.find(conn, trained_on.erasure_id)
                adapters.mark(conn, ref, trained_on.erasure_id, erasure.policy if erasure else "now")
        return adapter

    def find(self, ref: AdapterRef) -> Adapter:
        """Return the registry entry; raise NotFound."""
        with self._store.read() as conn:
            adapter = adapters.find(conn, ref)
        if adapter is None:
            raise NotFound(f"there is no adapter {ref}")
        return adapter

    def resolve(self, ref: AdapterRef, *, base_sha256: str) -> AdapterFiles:
        """Return the files, their hashes checked; raise NotFound, or AdapterRefused with the reason."""
        adapter = self.find(ref)
        with self._store.read() as conn:
            mark = adapters.mark_of(conn, ref)
        if mark is not None and mark.withdrawn_at is not None:
            raise AdapterRefused(f"{ref} was withdrawn: it was trained on what was erased ({mark.erasure_id})")
        if adapter.base_sha256 != base_sha256:
            raise AdapterRefused(f"{ref} was trained on another base model ({adapter.base_sha256[:8]})")
        try:
            config, weights = self._artifacts.get(adapter.config_sha256), self._artifacts.get(adapter.weights_sha256)
        except (ArtifactCorrupt, ArtifactMissing) as error:
            raise AdapterRefused(f"{ref} was not loaded: {error.message}") from error
        except OSError as error:
            raise AdapterRefused(f"{ref} was not loaded: {type(error).__name__} while reading its files") from error
        return AdapterFiles(config, weights, adapter.weights_sha256 + adapter.config_sha256)

    def mark(self, ref: AdapterRef, erasure_id: str, policy: ErasurePolicy) -> None:
        """Mark an adapter as trained on what was erased: no new release of it can start."""
        with self._store.write() as conn:
            adapters.mark(conn, ref, erasure_id, policy)

    def withdraw(self, ref: AdapterRef) -> None:
        """Withdraw an adapter: it is not resolved any more."""
        with self._store.write() as conn:
            adapters.withdraw(conn, ref)

    def delete_files(self, ref: AdapterRef) -> None:
        """Delete a withdrawn adapter's files, but those that another adapter shares."""
        adapter = self.find(ref)
        with self._store.read() as conn:
            files = {adapter.weights_sha256, adapter.config_sha256}
            gone = [sha256 for sha256 in sorted(files) if not adapters.shares(conn, ref, sha256)]
        for sha256 in gone:
            self._artifacts.delete(sha256)
        with self._store.write() as conn:
            adapters.deleted(conn, ref)
