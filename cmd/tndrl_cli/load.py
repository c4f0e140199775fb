"""Keeps calls under way, and what is made of the times that they took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

Call = Callable[[], Awaitable[object]]

PERCENTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of ``values`` do not exceed (nearest rank); raises ValueError without any."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def latencies(times: Sequence[float]) -> dict[str, float]:
    """Return the :data:`PERCENTILES` of ``times`` (seconds) in milliseconds; raises ValueError without any."""
    return {name: percentile(times, share) * 1000 for name, share in PERCENTILES.items()}


async def closed_loop(call: Call, concurrent: int, seconds: float) -> list[float]:
    """Keep ``concurrent`` calls under way for ``seconds``; returns the seconds that each took.

    Raises what a call raises, as an ExceptionGroup. Safe to cancel.
    """
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def worker() -> None:
        while (began := time.perf_counter()) < end:
            await call()
            times.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrent):
            group.create_task(worker())
    return times
