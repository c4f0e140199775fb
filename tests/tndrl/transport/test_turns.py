"""Turns: who is served first, who waits, and whose datagrams are lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tndrl.transport.turns import OVERHEAD, SHARE, TURN, WAITING, WAITING_EARLY, WAITING_FIRST, Turns

ADDRESS = ("192.0.2.1", 1)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(eq=False)
class Peer:
    """Takes datagrams, each for some time, and writes down what happened."""

    name: str
    clock: Clock
    log: list[str]
    cost: float = 0.0
    most_waiting: int = WAITING
    on_flush: Callable[[], None] = field(default=lambda: None)

    def receive_datagram(self, data: bytes, address: tuple[str, int]) -> None:
        assert (data, address) == (b"x", ADDRESS)
        self.clock.now += self.cost
        self.log.append(self.name)

    def react(self) -> None:
        self.log.append(f"{self.name} flushed")
        self.on_flush()


class Stage:
    """Turns, and the peers that wait for them."""

    def __init__(self) -> None:
        self.clock, self.log = Clock(), list[str]()
        self.turns = Turns(self.clock)

    def peer(self, name: str, count: int, cost: float = 0.0) -> Peer:
        """Return a peer with some datagrams waiting."""
        peer = Peer(name, self.clock, self.log, cost)
        for _ in range(count):
            assert self.turns.add(peer, b"x", ADDRESS)
        return peer


def test_a_single_peer_is_served_whole() -> None:
    """All that waits for one peer is handled, and acted on once."""
    stage = Stage()
    stage.peer("a", 3 * SHARE)
    assert not stage.turns.take()
    assert stage.log == ["a"] * 3 * SHARE + ["a flushed"]


def test_the_shortest_queue_comes_first() -> None:
    """Whoever sends much waits for those who send little."""
    stage = Stage()
    stage.peer("busy", SHARE)
    stage.peer("quiet", 1)
    assert not stage.turns.take()
    assert stage.log[:2] == ["quiet", "quiet flushed"]


def test_shares_alternate() -> None:
    """Peers that both send much are served in shares."""
    stage = Stage()
    stage.peer("a", 2 * SHARE)
    stage.peer("b", 2 * SHARE)
    assert not stage.turns.take()
    flushed = [entry for entry in stage.log if "flushed" in entry]
    assert flushed == ["a flushed", "b flushed"] * 2


def test_a_turn_ends_in_time() -> None:
    """What is left waits for the next turn, and datagrams that came meanwhile go before it."""
    stage = Stage()
    stage.peer("busy", 4, cost=TURN)
    assert stage.turns.take()
    assert stage.log == ["busy", "busy flushed"]
    stage.peer("quiet", 1)
    stage.log.clear()
    assert stage.turns.take()
    assert stage.log == ["quiet", "quiet flushed", "busy", "busy flushed"]


def test_a_flood_has_its_share_of_the_time_and_no_more() -> None:
    """QUIC-23: beside a peer with thousands of datagrams waiting, one that is busy has half of the time."""
    stage = Stage()
    stage.peer("flooder", 5000, cost=TURN / 10)
    busy = stage.peer("busy", SHARE, cost=TURN / 10)
    for _ in range(200):
        assert stage.turns.take()
        while len(stage.turns._queues.get(busy, ())) < SHARE:
            assert stage.turns.add(busy, b"x", ADDRESS)
    handled = stage.log.count("flooder"), stage.log.count("busy")
    assert 0.4 < handled[1] / sum(handled) < 0.6


def test_nobody_starves() -> None:
    """A peer that had no share in one turn begins the next, however long its queue is."""
    stage = Stage()
    stage.peer("busy", 10)
    stage.peer("dear", 5, cost=TURN)
    assert stage.turns.take()
    assert "busy" not in stage.log
    stage.log.clear()
    assert stage.turns.take()
    assert stage.log[0] == "busy"


@pytest.mark.parametrize("room", [WAITING, WAITING_FIRST, WAITING_EARLY])
def test_one_peers_queue_has_an_end(room: int) -> None:
    """What a peer sends beyond its queue is lost, and no other peer's is."""
    stage = Stage()
    count = room // (1 + OVERHEAD) + 1
    flooder = stage.peer("flooder", 1)
    flooder.most_waiting = room
    for _ in range(count - 1):
        assert stage.turns.add(flooder, b"x", ADDRESS)
    assert not stage.turns.add(flooder, b"x", ADDRESS)
    stage.peer("quiet", 1)
    assert not stage.turns.take()
    assert stage.log.count("flooder") == count
    assert stage.log.count("quiet") == 1
    assert stage.turns.add(flooder, b"x", ADDRESS)


def test_a_peer_that_is_gone_is_not_served() -> None:
    """What waits for a connection that has ended is forgotten, even in the middle of a turn."""
    stage = Stage()
    gone = stage.peer("gone", 2)
    first = stage.peer("first", 1)
    first.on_flush = lambda: stage.turns.drop(gone)
    assert not stage.turns.take()
    assert stage.log == ["first", "first flushed"]
    stage.turns.drop(gone)
    assert not stage.turns.take()
