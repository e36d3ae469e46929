"""Rows that `labeling` writes: samples, annotations and labels."""
