"""Engines, which generate replies. `protocol` is their interface; `embedded`, `vllm` and `null` implement it."""
