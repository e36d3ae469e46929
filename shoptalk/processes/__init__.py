"""Processes: the worker, the supervisor that runs it beside the API, their health, priority and memory."""
