"""Rows that `training` writes: datasets, runs and evaluations."""
