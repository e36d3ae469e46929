"""The hyperparameters of a training run, as data that is stored with the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """LoRA on all linear layers (Hu et al. 2021, arXiv:2106.09685), AdamW, cosine decay after a short warm-up."""

    #: optimizer steps; None: as many as the data need
    steps: int | None = None
    #: times that each example is seen
    epochs: float = 3.0
    #: tokens that are seen at most, all epochs together
    most_tokens: int = 4_000_000
    #: minutes that the steps may take, by the speed of the first ones
    most_minutes: float = 120.0
    #: examples in a step
    batch: int = 8
    rank: int = 16
    alpha: int = 32
    learning_rate: float = 5e-4
    warmup_steps: int = 4
    max_tokens: int = 512
    seed: int = 17
    #: 0: as many as there are cores
    threads: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
