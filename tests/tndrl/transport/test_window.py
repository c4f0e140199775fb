"""A window that grows by what is read: when it does, how far, and when it does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tndrl.transport.window import ReceiveWindow

SIZE, MOST = 1000, 6000
ROUND_TRIP = 0.1


def window() -> ReceiveWindow:
    """Return a window that was opened at the time 0."""
    return ReceiveWindow(SIZE, MOST, now=0.0)


def read(some: ReceiveWindow, limit: int, count: int, now: float) -> int:
    """Read from a sender that is held at ``limit``; returns the limit afterwards."""
    some.consumed += count
    return some.raised(limit, now, ROUND_TRIP) or limit


def test_the_limit_stays_until_half_a_window_is_read() -> None:
    """Each grant costs a frame, so there is one for half a window."""
    some = window()
    some.consumed = SIZE // 2 - 1
    assert some.raised(SIZE, 9.0, ROUND_TRIP) is None
    some.consumed += 1
    assert some.raised(SIZE, 9.0, ROUND_TRIP) == SIZE // 2 + SIZE


def test_a_fast_reader_gets_a_larger_window() -> None:
    """A window that is emptied within two round trips doubles, up to the most, and never beyond."""
    some, limit, now = window(), SIZE, 0.0
    sizes = []
    for _ in range(6):
        now += ROUND_TRIP
        limit = read(some, limit, some.size, now)
        sizes.append(some.size)
    assert sizes == [2000, 4000, 6000, 6000, 6000, 6000]
    assert limit == some.consumed + MOST


def test_a_slow_reader_keeps_its_window() -> None:
    """A reader that takes longer holds the sender up itself: more in flight would only wait."""
    some, limit, now = window(), SIZE, 0.0
    for _ in range(6):
        now += 3 * ROUND_TRIP
        limit = read(some, limit, SIZE, now)
    assert (some.size, limit) == (SIZE, 7 * SIZE)


def test_half_a_window_counts_half() -> None:
    """What counts is the speed: half a window in more than one round trip is slow."""
    slow, fast = window(), window()
    read(slow, SIZE, SIZE // 2, 1.1 * ROUND_TRIP)
    read(fast, SIZE, SIZE // 2, 0.9 * ROUND_TRIP)
    assert (slow.size, fast.size) == (SIZE, 2 * SIZE)


def test_a_pause_counts_as_slow() -> None:
    """Who reads nothing for long and then all at once has not kept up."""
    some = window()
    limit = read(some, SIZE, SIZE // 2, 0.01)
    assert some.size == 2 * SIZE
    read(some, limit, 2 * SIZE, 9.0)
    assert some.size == 2 * SIZE


def test_without_a_round_trip_nothing_grows() -> None:
    """As long as none has been measured, the window stays."""
    some = window()
    some.consumed = SIZE
    assert some.raised(SIZE, 0.0, 0.0) == 2 * SIZE


def test_the_most_is_at_least_the_size() -> None:
    """A most below the size means that the window never grows."""
    some = ReceiveWindow(SIZE, 1, now=0.0)
    read(some, SIZE, SIZE, 0.001)
    assert repr(some) == "<ReceiveWindow 1000 of 1000 bytes, 1000 consumed>"


@given(st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 1))))
def test_a_sender_is_never_ahead_by_more_than_the_most(steps: list[tuple[int, float]]) -> None:
    """Whatever is read when, the limit exceeds what was read by at most the largest window, and never falls."""
    some, limit, now = window(), SIZE, 0.0
    for count, pause in steps:
        now += pause
        before = limit
        limit = read(some, limit, min(count, limit - some.consumed), now)
        assert before <= limit <= some.consumed + MOST
