"""Round trips, counted by the time that they take on a slow link."""

from __future__ import annotations

import math
import time
from typing import Self

ROUND_TRIP = 0.3
"""Seconds a round trip takes on the link: much more than anything else that happens in one."""

TRIES = 4


class Stopwatch:
    """Measures what should take ``expected`` round trips, again while a busy machine made it slower than that."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._tries = 0
        self._began = 0.0
        self.seconds = math.inf  # of the quickest try

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(self, *_error: object) -> None:
        self.note(time.monotonic() - self._began)

    def note(self, seconds: float) -> None:
        """Take how long one try took."""
        self._tries += 1
        self.seconds = min(self.seconds, seconds)

    @property
    def round_trips(self) -> float:
        """Whole round trips that the quickest try took."""
        return self.seconds // ROUND_TRIP

    @property
    def goes_on(self) -> bool:
        """Whether to try once more."""
        return self._tries == 0 or (self.round_trips > self._expected and self._tries < TRIES)
