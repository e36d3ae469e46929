"""trl's trainer with the forward and backward pass of `training.lora.decoder` on batches without padding.

The loss is that of trl's own: the mean over the batch's reply tokens.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from trl import SFTTrainer

from training.lora.decoder import PackedDecoder
from training.lora.packed import collate


class ReplyTrainer(SFTTrainer):
    """trl's trainer for models that `training.lora.decoder.computes`; rows are `training.lora.packed.Row`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments, data_collator=collate)

    @cached_property
    def decoder(self) -> PackedDecoder:
        """Return the model's computation; first asked for when the model is on its device."""
        return PackedDecoder(self.model)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss on the reply tokens, as `transformers.Trainer.compute_loss` does, but without outputs."""
        loss = self.decoder.loss(inputs)
        return (loss, None) if return_outputs else loss
