"""Fits LoRA adapters: the computation, its layout of batches, and trl's trainer around it."""
