"""The gate alone: what it counts, whom it bounds."""

from __future__ import annotations

import threading

import grpc
import pytest

from pki.spiffe import SpiffeId
from support import streams
from tndrl.config import LimitsConfig
from tndrl.transport.gate import WHEN_ONE_ENDS, CallGate, PeerCalls
from tndrl.transport.refusal import SOON, Refusal
from tndrl.transport.registry import PeerIdentity


def peer(name: str = "b", connection: int = 1) -> PeerIdentity:
    """Return the other end of a call."""
    return PeerIdentity(SpiffeId.parse(streams.node_id(name)), "127.0.0.1:1", connection)


def exhausted(refusal: Refusal | None, words: str) -> float | None:
    """Check that there is too much of something; return when to come again."""
    assert refusal is not None
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert words in refusal.reason
    return refusal.retry_after


def test_the_gate_counts_and_tells() -> None:
    """Every change of the number of running calls is told."""
    told: list[int] = []
    gate = CallGate(told.append)
    assert (gate.enter("one", peer()), gate.enter("two", peer())) == (None, None)
    gate.leave("one", peer())
    assert (gate.running, gate.total, gate.refused, told) == (1, 2, 0, [1, 2, 1])
    assert repr(gate) == "<CallGate 1 running, open>"


def test_a_closed_gate_lets_running_calls_go_on() -> None:
    """Closing refuses who comes, and counts down who is in."""
    gate = CallGate()
    gate.enter("one", peer())
    gate.close("draining")
    assert gate.enter("one", peer()) == Refusal(grpc.StatusCode.UNAVAILABLE, "draining", SOON)
    gate.leave("one", peer())
    assert (gate.running, gate.total, gate.refused) == (0, 1, 1)
    assert repr(gate) == "<CallGate 0 running, draining>"


def test_one_stream_has_a_bound_of_its_own() -> None:
    """A stream with too many calls at once is refused more, while others are not."""
    gate = CallGate(limits=LimitsConfig(calls_per_stream=2))
    assert [gate.enter("one", peer()) for _ in range(2)] == [None, None]
    assert exhausted(gate.enter("one", peer()), "2 calls at once on one stream") == WHEN_ONE_ENDS
    assert gate.enter("two", peer()) is None
    gate.leave("one", peer())
    assert gate.enter("one", peer()) is None


def test_one_connection_has_a_bound_of_its_own() -> None:
    """All streams of a connection have one bound together (H2-09)."""
    gate = CallGate(limits=LimitsConfig(calls_per_connection=2))
    assert [gate.enter(stream, peer()) for stream in ("one", "two")] == [None, None]
    assert exhausted(gate.enter("three", peer()), "2 calls at once on one connection") == WHEN_ONE_ENDS
    assert gate.enter("four", peer(connection=2)) is None
    gate.leave("one", peer())
    assert gate.enter("three", peer()) is None


def test_one_identity_has_a_bound_of_its_own() -> None:
    """All connections of an identity have one bound together, over all gates that share it (H2-09)."""
    shared = PeerCalls(LimitsConfig(calls_per_identity=2))
    one, two = CallGate(peers=shared), CallGate(peers=shared)
    assert (one.enter("one", peer()), two.enter("two", peer(connection=2))) == (None, None)
    assert exhausted(two.enter("three", peer(connection=3)), "by spiffe://tndrl/node/b") == WHEN_ONE_ENDS
    assert one.enter("four", peer("c", 4)) is None
    one.leave("one", peer())
    assert two.enter("three", peer(connection=3)) is None


def test_calls_have_a_rate() -> None:
    """Calls of an identity in a second are bounded; the refusal says when the next one may come."""
    now = 0.0
    peers = PeerCalls(LimitsConfig(calls_per_second=10), lambda: now)
    gate = CallGate(peers=peers)
    for number in range(10):
        assert gate.enter(str(number), peer(connection=number)) is None
        gate.leave(str(number), peer(connection=number))
    assert exhausted(gate.enter("one", peer()), "10 calls a second") == pytest.approx(0.1)
    assert gate.enter("other", peer("c")) is None
    now = 0.11
    assert gate.enter("one", peer()) is None
    assert (gate.total, gate.refused) == (12, 1)


def test_what_was_refused_was_not_counted() -> None:
    """A refused call leaves nothing behind that a later one would miss."""
    peers = PeerCalls(LimitsConfig(calls_per_connection=1))
    gate = CallGate(limits=LimitsConfig(calls_per_stream=1), peers=peers)
    assert gate.enter("one", peer()) is None
    assert all(gate.enter(stream, peer()) for stream in ("one", "two", "one"))
    gate.leave("one", peer())
    assert not peers._running
    assert not gate._by_stream


def test_the_gate_holds_with_many_threads() -> None:
    """Counting from many threads at once loses nothing."""
    gate = CallGate(limits=LimitsConfig(calls_per_second=1_000_000))

    def work() -> None:
        for _ in range(500):
            gate.enter("one", peer())
            gate.leave("one", peer())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (gate.running, gate.total) == (0, 4000)
