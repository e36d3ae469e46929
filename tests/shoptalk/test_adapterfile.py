"""Adapter files: peft's own pass, everything else is refused in words and never by a crash."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from shoptalk.errors import AdapterRefused
from shoptalk.models import adapterfile
from shoptalk.models.adapterfile import AdapterFiles, verify
from tests.shoptalk.adapters import adapter, config, weights

GOOD = adapter(rank=2)
HEADER = 8 + int.from_bytes(GOOD.weights[:8], "little")
A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
B = A.replace("lora_A", "lora_B")


def a_file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def refused(config_file: bytes, weights_file: bytes) -> str:
    with pytest.raises(AdapterRefused) as caught:
        verify(AdapterFiles(config_file, weights_file))
    return caught.value.message


def test_a_good_adapter_says_what_it_adapts() -> None:
    facts = verify(GOOD, max_rank=2)
    assert (facts.rank, facts.scaling, len(facts.modules)) == (2, 2.0, 14)
    assert facts.modules["model.layers.1.mlp.down_proj"] == (128, 64)
    assert verify(adapter(rank=4, use_rslora=True)).scaling == 4.0


def test_the_rank_has_a_limit() -> None:
    with pytest.raises(AdapterRefused, match="SHOPTALK_MAX_RANK"):
        verify(GOOD, max_rank=1)


@given(position=st.integers(0, len(GOOD.weights) - 1), value=st.integers(0, 255))
@settings(max_examples=300)
@example(position=0, value=255)
@example(position=7, value=255)
@example(position=8, value=0)
def test_an_altered_byte_crashes_nothing(position: int, value: int) -> None:
    data = bytearray(GOOD.weights)
    data[position] = value
    _either(AdapterFiles(GOOD.config, bytes(data)))


@given(position=st.integers(0, HEADER - 1), junk=st.binary(max_size=8))
@settings(max_examples=300)
def test_an_altered_header_crashes_nothing(position: int, junk: bytes) -> None:
    data = GOOD.weights[:position] + junk + GOOD.weights[position + len(junk) :]
    _either(AdapterFiles(GOOD.config, data))


@given(length=st.integers(0, len(GOOD.weights) - 1))
def test_a_shortened_file_is_refused(length: int) -> None:
    refused(GOOD.config, GOOD.weights[:length])


@given(tail=st.binary(min_size=1, max_size=64))
def test_a_lengthened_file_is_refused(tail: bytes) -> None:
    assert "belong to no tensor" in refused(GOOD.config, GOOD.weights + tail)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(value=JSON, key=st.sampled_from(["dtype", "shape", "data_offsets", "", None]))
@settings(max_examples=300)
def test_any_json_as_header_crashes_nothing(value: Any, key: str | None) -> None:
    entry: Any = {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}
    header = value if key is None else {A: value} if key == "" else {A: {**entry, key: value}}
    _either(AdapterFiles(GOOD.config, a_file(header, b"\0" * 4)))


@given(value=JSON, key=st.sampled_from([*json.loads(GOOD.config), *adapterfile.MUST_BE_FALSY, None]))
@settings(max_examples=300)
def test_any_json_as_configuration_crashes_nothing(value: Any, key: str | None) -> None:
    changed = value if key is None else {**json.loads(GOOD.config), key: value}
    _either(AdapterFiles(json.dumps(changed).encode(), GOOD.weights))


@given(data=st.binary(max_size=64))
def test_any_bytes_crash_nothing(data: bytes) -> None:
    refused(data, GOOD.weights)
    refused(GOOD.config, data)


def test_deeply_nested_json_crashes_nothing() -> None:
    deep = b"[" * 200_000
    refused(deep, GOOD.weights)
    refused(GOOD.config, a_file(deep))


def _either(files: AdapterFiles) -> None:
    try:
        facts = verify(files)
    except AdapterRefused:
        return
    assert facts.rank >= 1
    assert np.isfinite(facts.scaling)


@pytest.mark.parametrize("key", adapterfile.MUST_BE_FALSY)
def test_what_would_change_the_mathematics_is_refused(key: str) -> None:
    assert key in refused(config(2, **{key: {"q_proj": 3}}), GOOD.weights)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "LOHA"}, "peft_type"),
        ({"bias": "all"}, "bias"),
        ({"r": 0}, "r and lora_alpha"),
        ({"r": True}, "r and lora_alpha"),
        ({"r": "2"}, "r and lora_alpha"),
        ({"lora_alpha": None}, "r and lora_alpha"),
        ({"lora_alpha": float("nan")}, "r and lora_alpha"),
        ({"target_modules": "all-linear"}, "target_modules"),
        ({"target_modules": ["q_proj", "lm_head"]}, "target_modules"),
        ({"target_modules": [["q_proj"]]}, "target_modules"),
        ({"target_modules": ["q_proj"]}, "unexpected tensor"),
        ({"r": 3}, "does not have A"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], said: str) -> None:
    assert said in refused(config(2, **changes), GOOD.weights)


def test_unexpected_tensors_are_refused() -> None:
    for name in ("x", A.replace("q_proj", "embed_tokens"), A + "\n", A.replace("lora_A", "lora_C")):
        assert "unexpected tensor" in refused(GOOD.config, save({name: np.zeros((2, 64), np.float32)}))


def test_half_a_pair_is_refused() -> None:
    assert "does not have A" in refused(GOOD.config, save({A: np.zeros((2, 64), np.float32)}))
    assert "no LoRA tensors" in refused(GOOD.config, a_file({}))


def test_other_number_types_and_shapes_are_refused() -> None:
    refused(GOOD.config, save({A: np.zeros((2, 64), np.float64), B: np.zeros((64, 2), np.float64)}))
    refused(GOOD.config, save({A: np.zeros((2, 64, 1), np.float32), B: np.zeros((64, 2), np.float32)}))


def test_overlapping_tensors_are_refused() -> None:
    entry = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    assert "extents" in refused(GOOD.config, a_file({A: entry, B: entry}, b"\0" * 16))


def test_oversized_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapterfile, "MAX_BYTES", 1000)
    assert "over the limit" in refused(GOOD.config, weights(rank=2))
