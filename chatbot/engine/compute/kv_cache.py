"""The keys and values of one conversation's tokens, in a buffer of its own that grows with it. Knows no requests."""

from __future__ import annotations

import torch

from chatbot.engine.compute.weights import Shape

STEP = 128  # positions a buffer grows by, at least


class KeyValues:
    """`data` is [layers, keys and values, kv_heads, capacity, dim]; position p of a head lies at [..., p, :]."""

    __slots__ = ("_shape", "address", "capacity", "data")

    def __init__(self, shape: Shape, dtype: torch.dtype, positions: int) -> None:
        self._shape = shape
        self._allocate(positions, dtype)

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes)

    def reserve(self, positions: int, used: int) -> None:
        """Make room for so many positions, keeping the first `used`."""
        if positions <= self.capacity:
            return
        old = self.data
        self._allocate(max(positions, self.capacity + self.capacity // 2), old.dtype)
        self.data[:, :, :, :used] = old[:, :, :, :used]

    def copy(self, used: int, positions: int) -> KeyValues:
        """A buffer of its own with the first `used` positions."""
        new = KeyValues(self._shape, self.data.dtype, max(positions, used))
        new.data[:, :, :, :used] = self.data[:, :, :, :used]
        return new

    def _allocate(self, positions: int, dtype: torch.dtype) -> None:
        self.capacity = -(-positions // STEP) * STEP
        s = self._shape
        # zeros: what is masked is still multiplied, by nothing, and must be a number
        self.data = torch.zeros(s.layers, 2, s.kv_heads, self.capacity, s.dim, dtype=dtype)
        self.address = self.data.data_ptr()
