"""Keeps secrets that pass through libraries out of their log messages."""

from __future__ import annotations

import logging

_TALKATIVE = {
    "openai": logging.WARNING,
    "httpx2": logging.WARNING,
    "httpcore2": logging.WARNING,
    "pydantic_ai": logging.WARNING,
    "mcp": logging.CRITICAL,
}
"""Loggers that write URLs, prompts or what a tool server printed, and the level from which they do not."""


def quieten() -> None:
    """Set the level of the loggers that nobody has set one for, so that ``--log-level=debug`` shows no secrets."""
    for name, level in _TALKATIVE.items():
        library = logging.getLogger(name)
        if library.level == logging.NOTSET:
            library.setLevel(level)
