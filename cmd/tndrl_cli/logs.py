"""Where log messages go: standard error, one line each."""

from __future__ import annotations

import logging
import sys
import time

from tndrl_cli.output import printable

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


class _OneLine(logging.Formatter):
    """Writes UTC time, level, area and message; control characters, which may be a peer's, are escaped."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - as below
        """Return the time in UTC, to the millisecond."""
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the standard library's
        """Return the line without its exception."""
        return printable(super().formatMessage(record))


def log_to_stderr(level: str) -> None:
    """Send messages of ``level`` (debug, info, warn, error) and above to standard error.

    What libraries say below a warning is of interest with debug only.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    number = LEVELS[level]
    logging.basicConfig(
        handlers=[handler],
        level=max(number, logging.WARNING) if number > logging.DEBUG else number,
        force=True,
    )
    for name in ("tndrl", "pki"):
        logging.getLogger(name).setLevel(number)
