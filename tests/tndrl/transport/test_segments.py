"""Datagrams that leave and come together: what is grouped, and what is told apart."""

from __future__ import annotations

import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import requires
from tndrl.transport import segments
from tndrl.transport.segments import MAX_BYTES, MAX_SEGMENTS, ask_for_segments, runs, segment_size, split

HERE, THERE = ("192.0.2.1", 1), ("192.0.2.2", 2)


def sizes(*lengths: int, address: object = HERE) -> list[tuple[list[int], object]]:
    """Return the runs of datagrams of these sizes, by their sizes."""
    return [
        ([len(data) for data in run], to) for run, to in runs((bytes(length), address) for length in lengths)
    ]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ((), []),
        ((7,), [[7]]),
        ((7, 7, 7), [[7, 7, 7]]),
        ((7, 7, 3), [[7, 7, 3]]),
        ((7, 3, 3), [[7, 3], [3]]),
        ((7, 3, 7), [[7, 3], [7]]),
        ((3, 7, 7), [[3], [7, 7]]),
    ],
)
def test_equal_datagrams_and_one_shorter_go_together(lengths: tuple[int, ...], expected: list) -> None:
    """A run is of one size, but for its last."""
    assert [run for run, _to in sizes(*lengths)] == expected


def test_a_run_has_one_address() -> None:
    """Datagrams to two peers never share a call."""
    found = list(runs([(b"a", HERE), (b"b", THERE), (b"c", THERE), (b"d", HERE)]))
    assert found == [([b"a"], HERE), ([b"b", b"c"], THERE), ([b"d"], HERE)]


def test_a_run_is_bounded() -> None:
    """Neither more datagrams nor more bytes than a system takes stand in one run."""
    assert [len(run) for run, _to in sizes(*[9] * (MAX_SEGMENTS + 1))] == [MAX_SEGMENTS, 1]
    assert [len(run) for run, _to in sizes(*[16383] * 5)] == [3, 2]


@given(st.lists(st.tuples(st.integers(1, 20000), st.sampled_from([HERE, THERE])), max_size=80))
def test_nothing_is_lost_or_moved(plan: list[tuple[int, object]]) -> None:
    """All runs one after the other are the datagrams, and each run can be sent."""
    datagrams = [(bytes([index % 256]) * length, to) for index, (length, to) in enumerate(plan)]
    found = list(runs(datagrams))
    assert [(data, to) for run, to in found for data in run] == datagrams
    for run, _to in found:
        assert len(run) <= MAX_SEGMENTS
        assert len(run) == 1 or sum(map(len, run)) <= MAX_BYTES
        assert all(len(data) == len(run[0]) for data in run[:-1])
        assert len(run[-1]) <= len(run[0])


@pytest.mark.parametrize("size", [0, 5, 6])
def test_one_datagram_stays_whole(size: int) -> None:
    """A buffer that is no longer than its segments is one datagram, whatever the system says."""
    level, kind, _value = segment_size(5)
    assert split(b"12345", [(level, kind + 1, size.to_bytes(4, sys.byteorder))]) == (b"12345",)


def test_what_came_together_is_told_apart() -> None:
    """A buffer of three datagrams gives three, the last of them shorter; other control messages mean nothing."""
    level, kind, _value = segment_size(5)
    control = [(socket.SOL_SOCKET, 1, b"xxxx"), (level, kind + 1, (5).to_bytes(4, sys.byteorder))]
    assert split(b"aaaaabbbbbcc", control) == [b"aaaaa", b"bbbbb", b"cc"]


def test_the_system_sends_and_gives_runs() -> None:
    """What one socket sends as one buffer, another receives as one, and a third as single datagrams."""
    requires.linux()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as together,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as apart,
    ):
        assert ask_for_segments(together)
        for receiver in (together, apart):
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(5)
            sender.sendmsg([b"aaaa", b"bbbb", b"c"], [segment_size(4)], 0, receiver.getsockname())
        data, ancillary, _flags, _address = together.recvmsg(100, 100)
        assert split(data, ancillary) == [b"aaaa", b"bbbb", b"c"]
        assert [apart.recv(100) for _ in range(3)] == [b"aaaa", b"bbbb", b"c"]


def test_a_system_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that refuses the option, and a system that has none, are told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        assert not ask_for_segments(sock)
    monkeypatch.setattr(segments.sys, "platform", "darwin")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert not ask_for_segments(sock)
