"""Structured logging for every process: one line an event, to standard error. Never a message's text.

Libraries' own logs are kept to warnings; their request logs could name what customers typed.
"""

from __future__ import annotations

import logging
import sys

import structlog


def configure(*, pretty: bool | None = None, level: int = logging.INFO) -> None:
    """Set up logging; call it once, at an entry point.

    `pretty` is for people, else lines are JSON; it defaults to whether standard error is a terminal.
    """
    if pretty is None:
        pretty = sys.stderr.isatty()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    for noisy in ("httpx", "presidio-analyzer", "presidio_analyzer", "dbos", "filelock", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    renderer = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
