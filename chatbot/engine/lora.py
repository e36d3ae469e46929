"""The slot bank: several LoRA adapters resident at once, any mix of them in one batch.

Every target Linear holds A [slots·r, in] and B [out, slots·r] and computes y = Wx + ((x Aᵀ) ⊙ mask) Bᵀ. The
mask [rows, 1, slots·r] holds each row's scaling at its own slot and zero elsewhere, so a row can only ever see
its own adapter (the idea of a batched, masked bank: Chen et al. 2023, "Punica", arXiv:2310.18547). Knows
neither requests nor files' provenance. Used by the engine's thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import nn
from torch.nn import functional as F

from shoptalk.adapterfile import TARGETS, AdapterFiles, verify
from shoptalk.errors import AdapterRefused


class Lanes:
    """What all SlotLinears of a model share: the mask of the batch being computed, None where all are base."""

    def __init__(self) -> None:
        self.mask: torch.Tensor | None = None


class SlotLinear(nn.Module):
    """A Linear with a bank of low-rank additions."""

    def __init__(self, base: nn.Linear, lanes: Lanes, width: int) -> None:
        super().__init__()
        self.base = base
        self.lanes = lanes
        self.a = nn.Buffer(torch.zeros(width, base.in_features, dtype=base.weight.dtype))
        self.b = nn.Buffer(torch.zeros(base.out_features, width, dtype=base.weight.dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.base(x)
        mask = self.lanes.mask
        if mask is None:
            return y
        return y + F.linear(F.linear(x, self.a) * mask, self.b)


class SlotBank:
    """Wraps a model's target Linears; slots are numbered from 0."""

    def __init__(self, model: Any, slots: int, max_rank: int) -> None:
        self.slots, self.rank = slots, max_rank
        self.lanes = Lanes()
        self.scaling = [0.0] * slots
        self._modules: dict[str, SlotLinear] = {}
        self._dtype: torch.dtype = model.dtype
        found = [
            (n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.rsplit(".", 1)[-1] in TARGETS
        ]
        for name, module in found:
            parent, _, leaf = name.rpartition(".")
            wrapped = SlotLinear(module, self.lanes, slots * max_rank)
            setattr(model.get_submodule(parent), leaf, wrapped)
            self._modules[name] = wrapped

    def read(self, files: AdapterFiles) -> tuple[float, dict[str, tuple[torch.Tensor, torch.Tensor]]]:
        """Verify against this model and parse: (scaling, {module: (A, B)}). Touches no slot."""
        facts = verify(files, max_rank=self.rank)
        for name, (columns, rows) in facts.modules.items():
            mine = self._modules.get(name)
            if mine is None or (mine.a.shape[1], mine.b.shape[0]) != (columns, rows):
                raise AdapterRefused(f"adapter_model.safetensors: {name} does not fit the base model")
        try:
            tensors = load_safetensors(files.weights)
        except SafetensorError as error:
            raise AdapterRefused(f"adapter_model.safetensors: {str(error)[:200]}") from None
        for name, tensor in tensors.items():
            if not torch.isfinite(tensor).all():
                raise AdapterRefused(f"adapter_model.safetensors: '{name}' has values that are not finite")
        path = "base_model.model.{}.lora_{}.weight"
        return facts.scaling, {
            name: (tensors[path.format(name, "A")], tensors[path.format(name, "B")]) for name in facts.modules
        }

    def fill(self, slot: int, scaling: float, weights: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Copy a parsed adapter into a slot no row uses."""
        start = slot * self.rank
        with torch.no_grad():
            for name, module in self._modules.items():
                a, b = module.a[start : start + self.rank], module.b[:, start : start + self.rank]
                a.zero_()
                b.zero_()
                if name in weights:
                    low, high = weights[name]
                    a[: low.shape[0]].copy_(low)
                    b[:, : high.shape[1]].copy_(high)
        self.scaling[slot] = scaling

    def route(self, slots: Sequence[int | None]) -> None:
        """Set the mask for a batch: one slot (or None for the base model) per row."""
        if all(slot is None for slot in slots):
            self.lanes.mask = None
            return
        mask = torch.zeros(len(slots), 1, self.slots * self.rank, dtype=self._dtype)
        for row, slot in enumerate(slots):
            if slot is not None:
                mask[row, 0, slot * self.rank : (slot + 1) * self.rank] = self.scaling[slot]
        self.lanes.mask = mask
