"""Load generators of the benchmark."""

import asyncio

from bench.loads import open_loop, paced


async def test_a_late_call_is_late_for_all_behind_it():
    """Times count from when a call was due: one that holds up the loop is seen in those that it held up."""
    count = 0

    async def call():
        nonlocal count
        count += 1
        if count == 1:
            import time

            time.sleep(0.05)  # noqa: ASYNC251  # the stall that is to be seen

    times = await open_loop([call], 1000, 0.05)
    assert len(times) == 50
    assert sum(time > 0.01 for time in times) > 20


async def test_calls_take_turns():
    """Each path has its share."""
    seen = []

    def path(name):
        async def call():
            seen.append(name)

        return call

    await open_loop([path("a"), path("b")], 10_000, 0.001)
    assert sorted(seen) == ["a"] * 5 + ["b"] * 5


async def test_paced():
    """One call follows another, and all are timed."""
    times = await paced(lambda: asyncio.sleep(0), 0.001, 0.02)
    assert 1 <= len(times) <= 20
