"""Releases: the moves that change what an alias should serve, and the thread that makes an API process follow."""
