"""Where a measurement happens, and which do not count."""

import sys

import pytest

from bench.lab import Process, RefusedError, check
from bench.model import Peer

SENT = {"udp": 5, "tcp": 5}
BEFORE = {"cpu": 1.0, "wall": 1.0, "udp": 5, "tcp": 5}


@pytest.mark.parametrize(
    ("peer", "sent", "reason"),
    [
        (Peer.TNDRL, {"udp": 0, "tcp": 9}, "no UDP packet was sent"),
        (Peer.TCP, {"udp": 9, "tcp": 0}, "no TCP"),
    ],
)
def test_nothing_was_sent(peer, sent, reason):
    """A figure of nothing is refused."""
    with pytest.raises(RefusedError, match=reason):
        check(peer, sent, None, None)


def test_nothing_crossed():
    """What was sent elsewhere than over the line is refused."""
    with pytest.raises(RefusedError, match="no UDP packet crossed the line"):
        check(Peer.TNDRL, SENT, BEFORE, {**BEFORE, "wall": 2.0, "tcp": 9})


def test_a_busy_line():
    """A line that took most of a core is what was measured."""
    with pytest.raises(RefusedError, match="the line itself took 71% of a core"):
        check(Peer.TNDRL, SENT, BEFORE, {**BEFORE, "cpu": 1.71, "wall": 2.0, "udp": 9})


@pytest.mark.parametrize("peer", [Peer.TNDRL, Peer.TCP, Peer.UNIX])
def test_what_counts(peer):
    """What crossed a line that was not busy counts."""
    check(peer, SENT, BEFORE, {"cpu": 1.7, "wall": 2.0, "udp": 9, "tcp": 9})


def test_a_process_answers_and_ends():
    """A process is asked line by line, and ends with its input."""
    code = "import sys\nprint('{\"n\": 0}', flush=True)\nfor _ in sys.stdin: print('{\"n\": 1}', flush=True)"
    process = Process([sys.executable, "-c", code])
    try:
        assert (process.read(), process.ask()) == ({"n": 0}, {"n": 1})
    finally:
        process.end()


def test_a_process_that_ends_too_soon():
    """A server that does not start is a reason, and not a crash of the run."""
    process = Process([sys.executable, "-c", "raise SystemExit(7)"])
    try:
        with pytest.raises(RefusedError, match="ended with 7"):
            process.read()
    finally:
        process.end()
