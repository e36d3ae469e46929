"""Releases: the state machine that moves an alias, and the reconciler that makes an API follow."""
