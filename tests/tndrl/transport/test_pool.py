"""What to do about a connection: decisions, asked one by one, at times of the test's own."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from pki.spiffe import SpiffeId
from tndrl.errors import NoAnswerError, StreamRefusedError, TndrlError
from tndrl.transport.pool import MOST_CONNECTIONS, Check, Dial, Pool, Refuse, Use
from tndrl.transport.target import Target

THERE = Target("b.example", 4433)
KNOWN = Target("b.example", 4433, SpiffeId.parse("spiffe://tndrl/node/b"))


@dataclass(eq=False)
class Known:
    """The facts about a connection."""

    failure: TndrlError | None = None
    is_confirmed: bool = True
    streams: int = 0
    streams_left: int = 100
    heard_at: float = 0.0
    idle_since: float = 0.0
    keepalive: float = 30.0
    peer_id: SpiffeId | None = None


@pytest.fixture(autouse=True)
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each pause as long as it may be."""
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)


@pytest.fixture
def pool() -> Pool[Known]:
    """Return an empty pool."""
    return Pool(evict_after=300, reconnect_max=30)


def error() -> TndrlError:
    """Return why a connection could not be made."""
    return NoAnswerError(str(THERE), 10)


def filled(pool: Pool[Known], *connections: Known, target: Target = THERE) -> Pool[Known]:
    """Put connections into a pool."""
    for one in connections:
        assert pool.dialled(target, one) == []
    return pool


# Acquiring


def test_nobody_is_there(pool: Pool[Known]) -> None:
    """Without a connection one is made, and none of it is anybody's fault."""
    assert pool.acquire(THERE, 0) == Dial()
    assert pool.failure(THERE) is None


def test_a_live_connection_is_used(pool: Pool[Known]) -> None:
    """Whoever wants a stream gets the connection there is."""
    one = Known()
    assert filled(pool, one).acquire(THERE, 10) == Use(one)


def test_the_identity_belongs_to_the_key(pool: Pool[Known]) -> None:
    """A connection verified by host name is none where an identity is expected, nor the other way round (TLS-27)."""
    by_name, by_identity = Known(), Known()
    filled(pool, by_name)
    assert pool.acquire(KNOWN, 0) == Dial()
    filled(pool, by_identity, target=KNOWN)
    assert (pool.acquire(THERE, 0), pool.acquire(KNOWN, 0)) == (Use(by_name), Use(by_identity))


def test_the_oldest_with_room_is_used(pool: Pool[Known]) -> None:
    """Later connections are for when the first are full, and fall idle first."""
    full, roomy, newest = Known(streams_left=0), Known(), Known()
    assert filled(pool, full, roomy, newest).acquire(THERE, 0) == Use(roomy)


def test_another_is_made_when_the_first_is_full(pool: Pool[Known]) -> None:
    """One connection more while the peer allows no more streams, and no more than there may be."""
    for _ in range(MOST_CONNECTIONS):
        assert pool.acquire(THERE, 0) == Dial()
        filled(pool, Known(streams_left=0))
    refused = pool.acquire(THERE, 0)
    assert isinstance(refused, Refuse)
    assert isinstance(refused.error, StreamRefusedError)


def test_who_wants_no_stream_needs_no_room(pool: Pool[Known]) -> None:
    """A full connection is good enough to ask who the peer is."""
    full = Known(streams_left=0)
    assert filled(pool, full).acquire(THERE, 0, streams=0) == Use(full)


# Silence


def test_a_silent_connection_is_checked(pool: Pool[Known]) -> None:
    """One that was silent for longer than the keepalive interval must answer a PING first."""
    one = Known(heard_at=100)
    filled(pool, one)
    assert pool.acquire(THERE, 130) == Use(one)
    assert pool.acquire(THERE, 130.1) == Check(one)


def test_a_fresh_connection_is_preferred(pool: Pool[Known]) -> None:
    """Nobody waits for a doubtful one while another is known to live."""
    silent, fresh = Known(heard_at=0), Known(heard_at=100)
    assert filled(pool, silent, fresh).acquire(THERE, 101) == Use(fresh)


def test_a_doubted_connection_is_not_used(pool: Pool[Known]) -> None:
    """One that left a PING unanswered is not used, and not ended: the network may come back."""
    one = Known(heard_at=0)
    filled(pool, one).doubt(THERE, one, 101)
    assert pool.acquire(THERE, 102) == Dial()
    assert pool.live(THERE) == [one]


def test_a_doubted_connection_that_speaks_is_trusted(pool: Pool[Known]) -> None:
    """Once something is heard the doubt is over."""
    one = Known(heard_at=0)
    filled(pool, one).doubt(THERE, one, 101)
    one.heard_at = 103
    assert pool.acquire(THERE, 104) == Use(one)
    assert pool.dialled(THERE, Known()) == []


def test_the_doubted_are_ended_when_the_peer_answers_anew(pool: Pool[Known]) -> None:
    """When a new connection can be made, the silent one is known to be dead."""
    dead, fine, fresh = Known(heard_at=0), Known(heard_at=50), Known(heard_at=102)
    filled(pool, dead, fine).doubt(THERE, dead, 101)
    assert pool.dialled(THERE, fresh) == [dead]
    assert pool.live(THERE) == [fine, fresh]


def test_doubts_about_a_stranger(pool: Pool[Known]) -> None:
    """A connection that is gone already is not doubted."""
    pool.doubt(THERE, Known(), 1)
    assert pool.dialled(THERE, Known()) == []


# Failures and losses


def test_a_fresh_failure_is_told_again(pool: Pool[Known]) -> None:
    """A call within a moment of a failed try hears its reason; a later one makes the next try."""
    why = error()
    pool.failed(THERE, why, 100)
    assert pool.acquire(THERE, 100.05) == Refuse(why)
    assert pool.acquire(THERE, 100.2) == Dial()
    assert pool.failure(THERE) is why


def test_failures_lengthen_the_pause(pool: Pool[Known]) -> None:
    """Those who wait for the peer try less and less often, until there is a sign of it."""
    for _ in range(9):
        pool.failed(THERE, error(), 100)
    assert pool.retry_at(THERE) == pytest.approx(100 + 25.6)
    pool.heard_of(None, THERE.host, THERE.port)
    assert pool.retry_at(THERE) <= 100
    assert pool.acquire(THERE, 100) == Dial()


@pytest.mark.parametrize("by", ["address", "expectation", "memory"])
def test_a_sign_of_a_peer_ends_the_pause(pool: Pool[Known], by: str) -> None:
    """Whoever has the address, the expected identity or the one from before is tried at once; nobody else is."""
    target, elsewhere = (KNOWN if by == "expectation" else THERE), Target("c.example", 1)
    one = Known(peer_id=KNOWN.expected)
    if by == "memory":
        filled(pool, one)
        one.failure = error()
    for each in (target, elsewhere):
        for _ in range(5):
            pool.failed(each, error(), 100)
    pool.heard_of(
        None if by == "address" else KNOWN.expected, *(("b.example", 4433) if by == "address" else ())
    )
    assert pool.retry_at(target) <= 100
    assert pool.retry_at(elsewhere) > 100


def test_nobody_heard_of_ends_no_pause(pool: Pool[Known]) -> None:
    """That no identity is expected is no identity that others share."""
    pool.failed(THERE, error(), 100)
    pool.heard_of(None)
    assert pool.retry_at(THERE) > 100


def test_reachable_is_who_is_not_in_doubt(pool: Pool[Known]) -> None:
    """A connection counts as a way to the peer while it lives and has not left a PING unanswered."""
    assert not pool.is_reachable(THERE)
    one = Known()
    assert filled(pool, one).is_reachable(THERE)
    pool.doubt(THERE, one, 50)
    assert not pool.is_reachable(THERE)
    one.heard_at = 51
    assert pool.is_reachable(THERE)
    one.failure = error()
    assert not pool.is_reachable(THERE)


def test_a_lost_connection_is_replaced_at_once(pool: Pool[Known]) -> None:
    """After the loss of a connection that worked there is no pause, and its reason is known until then."""
    one, why = Known(), error()
    filled(pool, one)
    one.failure = why
    assert pool.failure(THERE) is why
    assert pool.acquire(THERE, 1) == Dial()
    assert pool.failure(THERE) is why
    filled(pool, Known())
    assert pool.failure(THERE) is None


def test_a_success_does_not_end_the_series(pool: Pool[Known]) -> None:
    """A peer that accepts each connection and refuses us then is tried less and less often too."""
    why = error()
    for failures in range(1, 4):
        filled(pool, Known(failure=why, is_confirmed=False))
        assert pool.acquire(THERE, 100) == Refuse(why)
        assert pool.retry_at(THERE) == pytest.approx(100 + 0.05 * 2**failures)


def test_a_connection_that_worked_ends_the_series(pool: Pool[Known]) -> None:
    """After a connection that was confirmed the pauses are short again."""
    for _ in range(9):
        pool.failed(THERE, error(), 100)
    filled(pool, Known(failure=error()))
    pool.acquire(THERE, 200)
    pool.failed(THERE, error(), 200)
    assert pool.retry_at(THERE) == pytest.approx(200.1)


# Eviction


def test_an_idle_connection_is_closed(pool: Pool[Known]) -> None:
    """A connection is closed when no stream was open on it for long, not a moment before."""
    one = Known(idle_since=100)
    filled(pool, one)
    assert pool.evict(399) == ([], 400)
    assert pool.evict(400)[0] == [one]
    assert (pool.connections, pool.failure(THERE)) == ([], None)
    assert pool.acquire(THERE, 400) == Dial()


def test_nothing_is_closed_under_a_live_stream(pool: Pool[Known]) -> None:
    """A stream that is open keeps its connection, and the time begins with its end."""
    one = Known(idle_since=100, streams=1)
    filled(pool, one)
    assert pool.evict(1000) == ([], 1300)
    one.streams, one.idle_since = 0, 1010
    assert pool.evict(1300) == ([], 1310)
    assert pool.evict(1310)[0] == [one]


def test_targets_are_forgotten(pool: Pool[Known]) -> None:
    """A pool does not grow with all who were ever called, nor forgets a pause that lasts."""
    pool.failed(THERE, error(), 100)
    pool.failed(KNOWN, error(), 200)
    assert pool.evict(300) == ([], 460)
    assert pool.evict(460) == ([], 560)
    assert (pool.failure(THERE), pool.failure(KNOWN) is None) == (None, False)
    assert pool.evict(560) == ([], None)
