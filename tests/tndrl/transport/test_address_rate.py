"""How often each address may do something."""

from __future__ import annotations

from tndrl.transport.address_rate import ADDRESSES, AddressRate


def test_each_address_has_its_own_count() -> None:
    """An address that used up its second does not take another's."""
    limit = AddressRate(2)
    assert [limit.allows("a", 10.1) for _ in range(3)] == [True, True, False]
    assert limit.allows("b", 10.9)


def test_the_next_second_begins_anew() -> None:
    """What was refused passes in the next second."""
    limit = AddressRate(1)
    assert limit.allows("a", 10.9)
    assert not limit.allows("a", 10.99)
    assert limit.allows("a", 11.0)


def test_invented_addresses_fill_no_memory() -> None:
    """Only so many addresses are counted in a second; those that are counted go on, others wait."""
    limit = AddressRate(2)
    assert all(limit.allows(str(number), 5.0) for number in range(ADDRESSES))
    assert not limit.allows("one more", 5.0)
    assert limit.allows("0", 5.0)
    assert limit.allows("one more", 6.0)
