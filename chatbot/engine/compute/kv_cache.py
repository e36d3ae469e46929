"""The KV cache: attention keys and values of one sequence's tokens, in a buffer that grows. Knows no requests."""

from __future__ import annotations

import torch

from chatbot.engine.compute.weights import ModelShape

STEP = 128  # positions; capacities are multiples of it


class KVCache:
    """Keys and values of one sequence.

    `data` is [layers, 2 (keys, values), kv_heads, capacity, dim]; a head's position p lies at [..., p, :]. `address` is
    the address of its first byte, `capacity` counts positions.
    """

    __slots__ = ("_shape", "address", "capacity", "data")

    def __init__(self, shape: ModelShape, dtype: torch.dtype, positions: int) -> None:
        self._shape = shape
        self._allocate(positions, dtype)

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes)

    def reserve(self, positions: int, used: int) -> None:
        """Make room for `positions` positions, keeping what is at the first `used`."""
        if positions <= self.capacity:
            return
        old = self.data
        self._allocate(max(positions, self.capacity + self.capacity // 2), old.dtype)
        self.data[:, :, :, :used] = old[:, :, :, :used]

    def copy(self, used: int, positions: int) -> KVCache:
        """Return a cache of its own with the first `used` positions and room for `positions`."""
        new = KVCache(self._shape, self.data.dtype, max(positions, used))
        new.data[:, :, :, :used] = self.data[:, :, :, :used]
        return new

    def _allocate(self, positions: int, dtype: torch.dtype) -> None:
        self.capacity = -(-positions // STEP) * STEP
        s = self._shape
        # zeros: masked positions are still multiplied, by 0, and must be finite
        self.data = torch.zeros(s.layers, 2, s.kv_heads, self.capacity, s.dim, dtype=dtype)
        self.address = self.data.data_ptr()
