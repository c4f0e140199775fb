"""Token buckets, on a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.spiffe import SpiffeId
from tndrl.transport import rate
from tndrl.transport.rate import PeerRates, TokenBucket


def test_a_burst_of_one_seconds_worth_is_allowed() -> None:
    """After quiet, as many events as a second allows may come at once, and not one more."""
    bucket = TokenBucket(10, 0.0)
    assert [bucket.take(5.0) for _ in range(10)] == [0.0] * 10
    assert bucket.take(5.0) == pytest.approx(0.1)


def test_a_burst_may_be_of_another_size() -> None:
    """A slow rate may have a burst of its own."""
    bucket = TokenBucket(0.5, 0.0, burst=2)
    assert [bucket.take(0.0), bucket.take(0.0)] == [0.0, 0.0]
    assert bucket.take(0.0) == pytest.approx(2.0)
    assert bucket.take(2.001) == 0.0


def test_it_says_how_long_to_wait() -> None:
    """After the time it names, and not before, there is room for one."""
    bucket = TokenBucket(4, 0.0)
    for _ in range(4):
        bucket.take(0.0)
    wait = bucket.take(0.1)
    assert wait == pytest.approx(0.15)
    assert bucket.take(0.1 + wait - 0.01) > 0
    assert bucket.take(0.1 + wait + 0.001) == 0.0


@given(steps=st.lists(st.floats(0, 0.5), min_size=1, max_size=300))
def test_no_second_has_more_than_twice_the_rate(steps: list[float]) -> None:
    """However events are spread, at most the burst and one second's refill are allowed within a second."""
    bucket, now, allowed = TokenBucket(20, 0.0), 0.0, []
    for step in steps:
        now += step
        if bucket.take(now) == 0.0:
            allowed.append(now)
    assert all(sum(at <= other < at + 1 for other in allowed) <= 40 for at in allowed)


def peer(number: int) -> SpiffeId:
    """Return one of many peers."""
    return SpiffeId.parse(f"spiffe://tndrl/node/{number}")


def test_each_peer_has_one_bucket() -> None:
    """All that one peer does is counted together, and apart from what others do."""
    rates = PeerRates(2)
    assert rates.bucket(peer(1), 0.0) is rates.bucket(SpiffeId.parse(str(peer(1))), 1.0)
    assert rates.bucket(peer(1), 0.0) is not rates.bucket(peer(2), 0.0)


def test_so_many_peers_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many peers the one that was silent for longest is forgotten."""
    monkeypatch.setattr(rate, "KNOWN_PEERS", 2)
    rates = PeerRates(1)
    one, two = rates.bucket(peer(1), 0.0), rates.bucket(peer(2), 0.0)
    assert rates.bucket(peer(1), 0.0) is one
    rates.bucket(peer(3), 0.0)
    assert rates.bucket(peer(1), 0.0) is one
    assert rates.bucket(peer(2), 0.0) is not two
