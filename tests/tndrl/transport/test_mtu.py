"""The search for what a path carries: each answer of a path leads to the right next question (RFC 8899)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tndrl.transport.mtu import (
    BASE,
    BLACK_HOLE,
    LARGEST,
    MAX_PROBES,
    PRECISION,
    RAISE_AFTER,
    SEARCH_AGAIN,
    PathMtu,
)


def search(mtu: PathMtu, path: int, now: float = 0.0) -> int:
    """Probe a path that carries ``path`` bytes until there is nothing left to ask; return how many probes it took."""
    probes = 0
    while (size := mtu.next_probe(now)) is not None:
        probes += 1
        (mtu.probe_acked if size <= path else mtu.probe_lost)(size)
        assert probes < 200
    return probes


def grown(size: int = 1452) -> PathMtu:
    """Return what a path that carries the ceiling has become."""
    mtu = PathMtu(size)
    assert search(mtu, size) == 1
    assert mtu.size == size
    return mtu


def test_it_begins_with_what_every_path_carries() -> None:
    """Nothing over 1,200 bytes is sent before a probe has passed."""
    mtu = PathMtu(LARGEST)
    assert mtu.size == BASE
    assert repr(mtu) == "<PathMtu 1200 of 16383, 0 black holes>"


@pytest.mark.parametrize(("ceiling", "size"), [(0, BASE), (BASE, BASE), (1452, 1452), (1 << 30, LARGEST)])
def test_one_probe_reaches_the_ceiling(ceiling: int, size: int) -> None:
    """Where the path carries what the route promised, the first probe says so, and it is the last one."""
    mtu = PathMtu(ceiling)
    assert search(mtu, 1 << 30) == (size > BASE)
    assert mtu.size == size


@given(st.integers(BASE, LARGEST), st.integers(BASE, LARGEST))
def test_every_path_is_found(ceiling: int, path: int) -> None:
    """The search ends near what the path carries, and never beyond that or the ceiling."""
    mtu = PathMtu(ceiling)
    probes = search(mtu, path)
    best = min(ceiling, path)
    assert best - PRECISION <= mtu.size <= best
    assert probes <= 60


@pytest.mark.parametrize("path", [1472, 1452, 1392, 8952])
def test_common_paths_are_found_exactly(path: int) -> None:
    """What links usually carry is tried before anything between."""
    mtu = PathMtu(LARGEST)
    search(mtu, path)
    assert mtu.size == path


def test_one_probe_is_under_way_at_a_time() -> None:
    """The next one waits for the fate of the last (RFC 8899 section 3: at most one in a round trip)."""
    mtu = PathMtu(LARGEST)
    assert mtu.next_probe(0) == LARGEST
    assert mtu.next_probe(100) is None


def test_a_size_has_three_chances() -> None:
    """A probe may be lost by chance: only the third loss says that its size does not pass."""
    mtu = PathMtu(LARGEST)
    asked = []
    for _ in range(MAX_PROBES + 1):
        asked.append(mtu.next_probe(0))
        mtu.probe_lost(asked[-1])
    assert asked[:-1] == [LARGEST] * MAX_PROBES
    assert asked[-1] < LARGEST


def test_a_late_answer_changes_nothing() -> None:
    """What becomes of a probe that nobody waits for any more says nothing."""
    mtu = PathMtu(LARGEST)
    mtu.next_probe(0)
    mtu.probe_acked(9000)
    mtu.probe_lost(9000)
    assert mtu.size == BASE
    assert mtu.next_probe(0) is None


def test_a_path_may_grow_later() -> None:
    """After ten minutes the search is repeated; a path that has its ceiling is never asked again."""
    mtu = PathMtu(LARGEST)
    search(mtu, 1452, now=5.0)
    assert mtu.next_probe(4.0 + RAISE_AFTER) is None
    assert search(mtu, LARGEST, now=5.0 + RAISE_AFTER) == 1
    assert mtu.size == LARGEST
    assert mtu.next_probe(1e9) is None


def test_large_packets_that_vanish_are_a_black_hole() -> None:
    """When large packets are lost in a row and small ones pass, it falls back, and searches again after a while."""
    mtu = grown()
    mtu.lost([(number, 1452) for number in range(BLACK_HOLE)])
    assert mtu.size == 1452  # the whole path may be down
    mtu.acked(BLACK_HOLE, 100)
    mtu.lost([])
    assert (mtu.size, mtu.black_holes) == (BASE, 1)
    assert mtu.next_probe(10.0) is None
    assert mtu.next_probe(10.0 + SEARCH_AGAIN - 0.1) is None
    assert mtu.next_probe(10.0 + SEARCH_AGAIN) == 1452


def test_fewer_lost_packets_are_none() -> None:
    """Two may be chance."""
    mtu = grown()
    mtu.acked(9, 100)
    mtu.lost([(number, 1452) for number in range(BLACK_HOLE - 1)])
    assert mtu.size == 1452


def test_congestion_is_no_black_hole() -> None:
    """Large packets that are lost before a large one that arrived were lost to congestion."""
    mtu = grown()
    mtu.acked(20, 1452)
    mtu.acked(21, 100)
    mtu.lost([(number, 1452) for number in range(20)])
    assert mtu.size == 1452


def test_a_large_packet_that_passes_ends_the_suspicion() -> None:
    """What was lost before it counts no more; what was lost after it does."""
    mtu = grown()
    mtu.lost([(1, 1452), (2, 1452), (9, 1452)])
    mtu.acked(5, 1452)
    mtu.acked(10, 100)
    mtu.lost([(7, 1452)])
    assert mtu.size == 1452
    mtu.lost([(8, 1452)])
    assert mtu.size == BASE


def test_an_outage_is_no_black_hole() -> None:
    """Where small packets are lost as well, size is not what matters."""
    mtu = grown()
    mtu.acked(99, 100)
    mtu.lost([*[(number, 1452) for number in range(20)], (20, 100)])
    assert mtu.size == 1452


def test_what_was_lost_after_the_last_small_one_proves_nothing() -> None:
    """A small packet must have passed after the large ones were sent."""
    mtu = grown()
    mtu.acked(0, 100)
    mtu.lost([(number, 1452) for number in range(1, 20)])
    assert mtu.size == 1452


def test_a_black_hole_forgets_the_search() -> None:
    """What was under way or known not to pass belongs to the old path."""
    mtu = PathMtu(LARGEST)
    for _ in range(MAX_PROBES):
        mtu.probe_lost(mtu.next_probe(0))
    while (size := mtu.next_probe(0)) != 1452:
        mtu.probe_lost(size)
    mtu.probe_acked(1452)
    assert mtu.next_probe(0) is not None
    mtu.acked(9, 100)
    mtu.lost([(number, 1452) for number in range(3)])
    assert mtu.next_probe(0) is None
    assert mtu.next_probe(SEARCH_AGAIN) == LARGEST
