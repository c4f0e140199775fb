"""Load generators, and what they make of the times they see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

Call = Callable[[], Awaitable[object]]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of ``values`` do not exceed (nearest rank); raises ValueError without any."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def latencies(times: Sequence[float]) -> dict[str, float]:
    """Return the percentiles of ``times`` (seconds) in milliseconds."""
    return {
        name: percentile(times, share) * 1000
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
    }


async def closed_loop(call: Call, concurrent: int, seconds: float) -> list[float]:
    """Keep ``concurrent`` calls under way for ``seconds``; returns the seconds that each took."""
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


async def open_loop(calls: Sequence[Call], rate: float, seconds: float) -> list[float]:
    """Begin ``rate`` calls a second, in turn of ``calls``; returns seconds, each from when it was due.

    A call that is begun late is late: so a stall counts for every call that it held up.
    """
    times: list[float] = []
    began = time.perf_counter()

    async def one(number: int) -> None:
        await calls[number % len(calls)]()
        times.append(time.perf_counter() - began - number / rate)

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            wait = began + number / rate - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            group.create_task(one(number))
    return times


async def paced(call: Call, interval: float, seconds: float) -> list[float]:
    """Call one after another, at most every ``interval`` seconds; returns the seconds that each took."""
    times = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await call()
        times.append(time.perf_counter() - began)
        await asyncio.sleep(max(0.0, interval - times[-1]))
    return times
