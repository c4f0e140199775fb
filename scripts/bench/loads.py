"""Load generators besides those of ``tndrl bench``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from tndrl_cli.load import Call


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
