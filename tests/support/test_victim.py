"""The victim notices harm, and tells it from none."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from support import processes, victim
from support.victim import Meter, Sample, Victim, percentile

pytestmark = pytest.mark.serial


def of(baseline: list[float], during: list[float], error: str | None = None) -> Victim:
    """Return a victim that saw these latencies."""
    made = Victim(asyncio.StreamReader())
    made.baseline = [Sample(0.0, took, None) for took in baseline]
    made.during = [Sample(0.0, took, None) for took in during]
    made.during[0] = Sample(0.0, during[0], error)
    return made


def test_percentile() -> None:
    """One of a hundred may be worse, and of fewer none."""
    assert percentile([*[0.1] * 99, 9.0]) == 0.1
    assert percentile([*[0.1] * 98, 9.0]) == 9.0
    with pytest.raises(AssertionError, match="called nobody"):
        percentile([])


@pytest.mark.parametrize(
    ("baseline", "during", "p99", "harmed"),
    [
        (0.001, 0.019, None, False),
        (0.001, 0.021, None, True),
        (0.010, 0.029, None, False),
        (0.010, 0.031, None, True),
        (0.001, 0.049, 0.05, False),
        (0.010, 0.011, 0.01, True),
    ],
)
async def test_the_bound(baseline: float, during: float, p99: float | None, harmed: bool) -> None:
    """The larger of 20 ms and three times the baseline, or what the case says."""
    seen = of([baseline] * 100, [during] * 100)
    if not harmed:
        seen.assert_unharmed(p99=p99)
        return
    with pytest.raises(AssertionError, match=f"p99 {during * 1000:.1f} ms of 100 Pings"):
        seen.assert_unharmed(p99=p99)


async def test_one_of_a_few_may_be_late() -> None:
    """What else the machine does makes one of ten Pings late; what harms the victim makes more."""
    of([0.001] * 20, [*[0.001] * 9, 0.2]).assert_unharmed()
    with pytest.raises(AssertionError, match=r"p99 200\.0 ms of 10 Pings"):
        of([0.001] * 20, [*[0.001] * 8, 0.2, 0.2]).assert_unharmed()


async def test_one_error_is_harm() -> None:
    """No Ping may fail."""
    with pytest.raises(AssertionError, match="1 Pings failed: UNAVAILABLE"):
        of([0.001] * 100, [0.001] * 100, "UNAVAILABLE: gone").assert_unharmed()


async def test_a_victim_that_is_left_alone_is_unharmed(short_dir: Path) -> None:
    """Beside nothing, 20 Pings are answered each second, by a process of the victim's own."""
    async with processes.serving(short_dir / "a", command=processes.SERVE) as node:
        async with victim.beside(node.address, short_dir / "v", baseline=1.0) as seen, seen.attack():
            await asyncio.sleep(1.0)  # the attack is a span of time
        seen.assert_unharmed(p99=1.0)
    assert 15 <= len(seen.baseline) <= 21
    assert 15 <= len(seen.during) <= 21


async def test_a_node_that_stands_still_harms_the_victim(short_dir: Path) -> None:
    """Pings that were sent meanwhile count with the whole time they took; none is left out."""
    async with processes.serving(short_dir / "a", command=processes.SERVE) as node:
        async with victim.beside(node.address, short_dir / "v", baseline=0.5) as seen, seen.attack():
            node.signal(signal.SIGSTOP)
            await asyncio.sleep(0.5)
            node.signal(signal.SIGCONT)
        with pytest.raises(AssertionError, match="are allowed"):
            seen.assert_unharmed()
        assert len(seen.during) >= 8
        assert not seen.errors


async def test_a_node_that_is_gone_is_noticed(short_dir: Path) -> None:
    """Pings that fail are reported with gRPC's status."""
    async with processes.serving(short_dir / "a", command=processes.SERVE) as node:
        async with victim.beside(node.address, short_dir / "v", baseline=0.2) as seen, seen.attack():
            node.signal(signal.SIGKILL)
            await node.process.wait()
            await asyncio.sleep(0.2)
        with pytest.raises(AssertionError, match="Pings failed: UNAVAILABLE"):
            seen.assert_unharmed()


async def test_the_meter_sees_cpu_and_memory_that_was_given_back() -> None:
    """Memory counts at its worst moment, CPU as it is spent."""
    code = (
        "import sys, time\nprint(flush=True)\ninput()\nblock = bytearray(50 << 20)\ndel block\n"
        "while time.process_time() < 0.5: pass\nprint(flush=True)\ninput()\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdout.readline()
    meter = Meter(process.pid)
    process.stdin.write(b"\n")
    await process.stdout.readline()
    assert 0.2 < meter.cpu < 1.0
    if sys.platform == "linux":
        assert 45 << 20 < meter.growth < 60 << 20
    process.stdin.write(b"\n")
    await process.communicate()


async def test_the_meter_of_a_quiet_process_stands_still() -> None:
    """Nothing done is nothing counted."""
    meter = Meter(os.getpid())
    assert meter.cpu < 0.1
    assert meter.growth < 5 << 20
