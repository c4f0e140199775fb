"""Load generators."""

import asyncio

import pytest

from tndrl_cli.load import closed_loop, latencies, percentile


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.5, 50), (0.501, 51), (0.99, 99), (0.999, 100), (1.0, 100)]
)
def test_percentile(share, value):
    """The nearest rank: so many values are no greater."""
    assert percentile(list(range(100, 0, -1)), share) == value


def test_nothing_measured():
    """There is no percentile of nothing."""
    with pytest.raises(ValueError, match="nothing was measured"):
        latencies([])


def test_latencies():
    """Seconds become milliseconds."""
    assert latencies([0.001] * 99 + [0.005]) == {"p50": 1.0, "p99": 1.0, "p999": 5.0}


async def test_closed_loop():
    """So many calls are under way at once, and each is timed."""
    running = most = 0

    async def call():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    times = await closed_loop(call, 7, 0.01)
    assert (most, running) == (7, 0)
    assert len(times) >= 7
    assert all(time >= 0 for time in times)


async def test_closed_loop_fails():
    """What a call raises ends the load."""

    async def call():
        raise KeyError

    with pytest.raises(ExceptionGroup) as caught:
        await closed_loop(call, 2, 10)
    assert caught.group_contains(KeyError)
