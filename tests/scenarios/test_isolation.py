"""A handler that hogs its thread holds up nobody else's calls of other services."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import pytest

from support import nodes, processes
from support.workshop import Work, stub_of

LIMIT = 0.050
"""Seconds that a Ping may take."""

pytestmark = pytest.mark.serial


async def pings_beside(folder: Path, how: str, seconds: float) -> list[float]:
    """Return the seconds that Pings take while a handler of the same node hogs its thread."""
    async with (
        processes.serving(folder / "a") as node,
        nodes.calling(folder / "b", "b", node.address) as peer,
    ):
        control = nodes.control(peer)
        await nodes.ping(control)
        hog = stub_of(peer).MakeMany(Work(how=how, seconds=seconds, pieces=1))
        await hog.initial_metadata()
        answer = asyncio.ensure_future(hog.read())
        took = []
        while not answer.done():
            began = time.perf_counter()
            await nodes.ping(control)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.005)
    return took


@pytest.mark.parametrize("how", ["block", "spin"])
@pytest.mark.parametrize("seconds", [2.0, pytest.param(5.0, marks=pytest.mark.long)])
async def test_ping_beside_a_handler_that_hogs(short_dir: Path, how: str, seconds: float) -> None:
    """While a handler sleeps without await, or computes, every Ping is answered within 50 ms."""
    took = await pings_beside(short_dir, how, seconds)
    print(f"p50 {statistics.median(took) * 1000:.1f} ms, max {max(took) * 1000:.1f} ms of {len(took)}")
    assert max(took) < LIMIT
    assert len(took) > seconds * 20
