"""Publishing and resolving adapters, on both databases."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shoptalk.domain import AdapterRef
from shoptalk.errors import AdapterRefused, NotFound
from shoptalk.models.adapterfile import AdapterFiles
from shoptalk.models.artifacts import Artifacts
from shoptalk.models.registry import Registry
from shoptalk.store import Store
from tests.shoptalk.adapters import adapter

BASE = "b" * 64


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "artifacts"))


@pytest.fixture
def registry(store: Store, artifacts: Artifacts) -> Registry:
    return Registry(store, artifacts)


def test_versions_count_up_by_name(registry: Registry) -> None:
    made = [registry.publish(name, adapter(n), base_sha256=BASE).ref for n, name in enumerate(["shop", "shop", "tea"])]
    assert list(map(str, made)) == ["shop@v1", "shop@v2", "tea@v1"]
    assert registry.resolve(made[1], base_sha256=BASE) == adapter(1)


def test_a_run_publishes_once(registry: Registry) -> None:
    first = registry.publish("shop", adapter(1), base_sha256=BASE, run_id="run_1")
    assert registry.publish("shop", adapter(2), base_sha256=BASE, run_id="run_1") == first


def test_publishers_at_once_get_versions_of_their_own(registry: Registry) -> None:
    refs: list[str] = []
    threads = [
        threading.Thread(
            target=lambda n=n: refs.append(
                str(registry.publish("shop", adapter(n), base_sha256=BASE, run_id=f"run_{n // 2}").ref)
            )
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(refs) == sorted(2 * [f"shop@v{n}" for n in range(1, 5)])


def test_what_is_not_an_adapter_is_not_published(registry: Registry) -> None:
    with pytest.raises(AdapterRefused):
        registry.publish("shop", AdapterFiles(b"{}", b"pickle"), base_sha256=BASE)
    with pytest.raises(NotFound):
        registry.find(AdapterRef("shop", 1))


def test_another_base_model_is_refused(registry: Registry) -> None:
    ref = registry.publish("shop", adapter(), base_sha256=BASE).ref
    with pytest.raises(AdapterRefused, match="another base model"):
        registry.resolve(ref, base_sha256="c" * 64)


@pytest.mark.parametrize("which", ["weights_sha256", "config_sha256"])
def test_altered_and_missing_files_are_refused(registry: Registry, artifacts: Artifacts, which: str) -> None:
    made = registry.publish("shop", adapter(), base_sha256=BASE)
    path = Path(artifacts.path_of(getattr(made, which)))
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(AdapterRefused, match="was altered"):
        registry.resolve(made.ref, base_sha256=BASE)
    path.unlink()
    with pytest.raises(AdapterRefused, match="not in the store"):
        registry.resolve(made.ref, base_sha256=BASE)
    path.mkdir()
    with pytest.raises(AdapterRefused, match="IsADirectoryError"):
        registry.resolve(made.ref, base_sha256=BASE)
