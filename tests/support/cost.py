"""What one input may cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Outcome = TypeVar("Outcome")

LIMIT = 1.0
"""Seconds of CPU that no input may take."""


def timed(call: Callable[[], Outcome], what: object) -> Outcome:
    """Return what ``call`` returns or raise what it raises, and check that it took no longer than an input may."""
    began = time.thread_time()
    try:
        return call()
    finally:
        took = time.thread_time() - began
        assert took <= LIMIT, f"{took:.2f} s of CPU for {what!r}"
