"""What repeated measurements say: a median, how sure it is, and ratios pair by pair."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """A median between two of the measurements."""

    median: float
    low: float
    high: float
    confidence: float
    """How probable it is that the true median lies from ``low`` to ``high``, whatever the distribution."""


def summary(values: Sequence[float]) -> Summary:
    """Return the median of ``values`` and the narrowest pair of them that holds it with 90 %, or else the widest pair.

    The interval is the sign test's: of n values, the k-th from each end enclose the median but for
    2 * P(Binomial(n, 1/2) < k). Raises ValueError without any values.
    """
    ordered, count = sorted(values), len(values)
    if not count:
        raise ValueError("nothing was measured")
    best = 1
    for rank in range(1, (count + 1) // 2 + 1):
        if _confidence(count, rank) >= 0.9:
            best = rank
    return Summary(
        statistics.median(ordered), ordered[best - 1], ordered[count - best], _confidence(count, best)
    )


def _confidence(count: int, rank: int) -> float:
    outside = sum(math.comb(count, below) for below in range(rank)) / float(2**count)
    return max(0.0, 1 - 2 * outside)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours by theirs for each repetition that has both; one whose divisor is 0 is left out."""
    return [mine / other for mine, other in zip(ours, theirs, strict=False) if other]


def text(value: float) -> str:
    """Return a number with three significant digits, and no exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
