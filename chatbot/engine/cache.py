"""One padded key-value cache for the whole batch; row i's token at position p lies at [i, :, p].

Stands in for a transformers `Cache` in the model's forward. Knows neither requests nor adapters. Rows are kept
dense: a row that leaves is replaced by the last one. Used by the engine's thread only.
"""

from __future__ import annotations

from typing import Any

import torch


class BatchCache:
    """Keys and values [rows, kv_heads, positions, head_dim] per layer, growing with the longest row."""

    is_compileable = False

    def __init__(self, config: Any, rows: int, max_positions: int, dtype: torch.dtype) -> None:
        self._heads = config.num_key_value_heads
        self._dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._layers = config.num_hidden_layers
        self._rows, self._max, self._dtype = rows, max_positions, dtype
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._capacity = 0
        self._reserve(min(512, max_positions))
        self._row_slice = slice(0, 0)
        self._positions: torch.Tensor | None = None  # decode: one position per row
        self._start = self._length = 0

    def prefill(self, row: int, start: int, length: int) -> None:
        """The next forward computes `length` tokens of one row from position `start`."""
        self._reserve(start + length)
        self._row_slice, self._positions = slice(row, row + 1), None
        self._start, self._length = start, start + length

    def decode(self, positions: torch.Tensor) -> None:
        """The next forward computes one token for each of the first len(positions) rows."""
        self._length = int(positions.max()) + 1
        self._reserve(self._length)
        self._row_slice, self._positions = slice(0, len(positions)), positions

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Called by each attention layer: store what is new, return all up to the longest row."""
        k, v = self._keys[layer][self._row_slice], self._values[layer][self._row_slice]
        if self._positions is None:
            k[:, :, self._start : self._length] = keys
            v[:, :, self._start : self._length] = values
        else:
            rows = torch.arange(len(self._positions))
            k[rows, :, self._positions] = keys[:, :, 0]
            v[rows, :, self._positions] = values[:, :, 0]
        return k[:, :, : self._length], v[:, :, : self._length]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row's first `length` positions over another row."""
        for store in (self._keys, self._values):
            for layer in store:
                layer[target, :, :length] = layer[source, :, :length]

    def get_seq_length(self, *_: Any) -> int:
        return self._length

    def _reserve(self, positions: int) -> None:
        if positions <= self._capacity:
            return
        capacity = min(self._max, max(positions, 2 * self._capacity))
        shape = (self._rows, self._heads, capacity, self._dim)
        for store in (self._keys, self._values):
            old = list(store)
            store.clear()
            for layer in range(self._layers):
                grown = torch.zeros(shape, dtype=self._dtype)
                if old:
                    grown[:, :, : self._capacity] = old[layer]
                store.append(grown)
        self._capacity = capacity
