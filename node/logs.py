"""Logging: structlog, JSON or coloured, every line with one of seven categories."""

import logging
import sys
from typing import Final, Literal, TextIO

import structlog

Category = Literal["block", "state", "proof", "database", "p2p", "consensus", "api"]

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logging(level: str, form: str, stream: TextIO = sys.stderr) -> None:
    """Set up structlog for this process.

    Args:
        level: "debug", "info", "warning" or "error"; finer lines cost one comparison.
        form: "json" for one object a line, "console" for people.
        stream: where lines go.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hex_bytes,
    ]
    last: structlog.types.Processor
    if form == "json":
        shared.append(structlog.processors.format_exc_info)
        last = structlog.processors.JSONRenderer()
    else:
        last = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )


def logger(category: Category) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of one category. It reads the set-up at its first line, so modules may make it early."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(category=category)
    return bound


def _hex_bytes(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Show ids as the first 12 hexadecimal digits: enough to find them, short enough to read."""
    for key, value in event.items():
        if isinstance(value, bytes):
            event[key] = value.hex()[:12]
    return event
