"""Structured logging: one JSON object a line on stderr, which the supervisor's logger collects.

Secrets never go into a log call; callers pass ids, not keys.
"""

from __future__ import annotations

import logging
import os
import sys

import structlog


def configure(process: str, level: str = "info") -> None:
    """Set this process's logging up: `process` is stamped on every line."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(process=process, pid=os.getpid())


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry `logger=name`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(logger=name)
    return logger
