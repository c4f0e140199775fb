"""Classes of streams."""

from __future__ import annotations

from tndrl.transport.priority import Priority, priority_of
from tndrl.transport.stream_type import StreamType


def test_control_is_critical_by_itself() -> None:
    """Streams of which nobody says otherwise: Control goes before all others."""
    assert priority_of(StreamType.CONTROL) is Priority.CRITICAL
    assert {priority_of(kind) for kind in (StreamType.A2A, 0x10, 0xEF)} == {Priority.MEDIUM}


def test_a_lower_number_goes_first() -> None:
    """The classes have the numbers that the documentation gives them."""
    assert {each.name: int(each) for each in sorted(Priority)} == {
        "CRITICAL": 0,
        "HIGH": 64,
        "MEDIUM": 128,
        "LOW": 192,
    }
