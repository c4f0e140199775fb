"""The benchmark runs, and what it finds is no worse than it was: ratios of one run, with room for a noisy machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.figures import ratios, summary
from bench.model import Peer
from bench.results import Results
from bench.run import environment

SMALL = "down, datagrams of 1452 bytes"

BOUNDS = [
    ("unary", "1 at once", "p50", Peer.TCP, None, 3.5),
    ("unary", "50 at once", "rate", Peer.TCP, 0.4, None),
    ("streams", "down", "rate", Peer.TCP, 0.15, None),
    ("streams", SMALL, "rate", Peer.AIOQUIC, 1.3, None),
    ("streams", SMALL, "rate", Peer.OWN, 0.5, None),
]
"""Scenario, case, metric, by whom Tndrl's is divided, and the least and the most that may come of it."""


def ratio(results: Results, scenario: str, case: str, metric: str, other: Peer) -> float:
    """Return Tndrl's figure by another's."""
    (found,) = [each for each in results.scenarios if each.key == scenario]
    (under,) = [each for each in found.cases if each.name == case]
    assert not under.refused, under.refused
    ours, theirs = (under.figures[peer][metric] for peer in (Peer.TNDRL, other))
    return summary(ratios(ours, theirs)).median


@pytest.mark.serial
@pytest.mark.timeout(180)
def test_ratios(short_dir: Path) -> None:
    """Small calls and large streams cost about what they did, by what others cost in the same run."""
    command = [sys.executable, "-m", "bench", "--quick", "--only", "unary,streams", "--out", str(short_dir)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert "Small calls" in done.stdout
    results = Results.read(short_dir / "results.json")
    for scenario, case, metric, other, least, most in BOUNDS:
        found = ratio(results, scenario, case, metric, other)
        print(f"{scenario}, {case}, {metric}: {found:.2f} times that of {other.label}")
        assert least is None or found >= least, (scenario, case, metric, found)
        assert most is None or found <= most, (scenario, case, metric, found)
