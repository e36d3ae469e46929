"""From labels to a judged adapter: datasets, fine-tuning, evaluation, the gate."""
