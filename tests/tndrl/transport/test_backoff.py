"""Pauses between tries: longer and longer, never the same for two, and over at once when there is hope."""

from __future__ import annotations

import random

import pytest

from tndrl.transport.backoff import FIRST_PAUSE, LONGEST_REFUSAL, Backoff


@pytest.fixture
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each pause as long as it may be."""
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)


def test_at_first_there_is_no_pause() -> None:
    """Who never failed is tried at once."""
    backoff = Backoff(30)
    assert not backoff.refuses(5.0)
    assert backoff.due <= 5.0


def test_pauses_double_up_to_the_longest(longest_pauses: None) -> None:
    """Each pause may be twice as long as the one before, up to the longest; thousands of failures are no trouble."""
    backoff, pauses = Backoff(30), []
    for _ in range(2000):
        backoff.failed(100.0)
        pauses.append(backoff.due - 100.0)
    assert pauses[:4] == pytest.approx([FIRST_PAUSE, 0.2, 0.4, 0.8])
    assert max(pauses) == pauses[-1] == pytest.approx(30)


def test_pauses_are_spread() -> None:
    """A hundred peers that fail together come back at a hundred moments, over all of the pause."""
    pauses = []
    for _ in range(100):
        backoff = Backoff(30)
        for _ in range(12):
            backoff.failed(0.0)
        pauses.append(backoff.due)
    assert len(set(pauses)) == 100
    assert min(pauses) < 10 < 20 < max(pauses) <= 30


def test_refusals_are_short(longest_pauses: None) -> None:
    """However long the pause: a call soon makes a try of its own."""
    backoff = Backoff(30)
    for _ in range(12):
        backoff.failed(100.0)
    assert backoff.refuses(100.0 + LONGEST_REFUSAL - 0.01)
    assert not backoff.refuses(100.0 + LONGEST_REFUSAL)
    assert backoff.due == 130.0


def test_a_short_pause_refuses_no_longer_than_it_lasts(longest_pauses: None) -> None:
    """After the first failure the next try is near."""
    backoff = Backoff(30)
    backoff.failed(100.0)
    assert backoff.refuses(100.0)
    assert not backoff.refuses(100.0 + FIRST_PAUSE + 0.001)


def test_hope_ends_the_pause(longest_pauses: None) -> None:
    """A sign of the peer ends the pause, and the next one goes on from where it was."""
    backoff = Backoff(30)
    backoff.failed(100.0)
    backoff.hurry()
    assert backoff.due == 100.0
    assert not backoff.refuses(100.0)
    backoff.failed(100.0)
    assert backoff.due == pytest.approx(100.2)


def test_success_begins_again(longest_pauses: None) -> None:
    """After a success the pauses are short again."""
    backoff = Backoff(30)
    for _ in range(12):
        backoff.failed(100.0)
    backoff.reset()
    backoff.failed(200.0)
    assert backoff.due == pytest.approx(200.0 + FIRST_PAUSE)
    assert repr(backoff) == "<Backoff 1 failures, pause 0.100 s>"
