"""Computes the loss of an example on its reply only.

The output layer takes a third of the time of a small model's training step, and most tokens are those of prompts, which
do not count; so it is computed for reply tokens only. The loss is that of trl's trainer: the mean over the batch's
reply tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from trl import SFTTrainer

IGNORED = -100  # the label of a token that does not count


class ReplyTrainer(SFTTrainer):
    """A trainer for a peft model of the decoders that the engine serves, in bfloat16 or float32."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss on the reply tokens, as `transformers.Trainer.compute_loss` does, but without outputs."""
        inner = model.get_base_model()
        states = inner.model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
        ).last_hidden_state
        labels = inputs["labels"][:, 1:]
        counts = labels != IGNORED
        logits = inner.lm_head(states[:, :-1][counts])
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[counts])
        return (loss, None) if return_outputs else loss
