"""The type byte: which numbers are whose."""

from __future__ import annotations

import pytest

from tndrl.errors import UsageError
from tndrl.transport.stream_type import (
    RESERVED_TYPES,
    USER_TYPES,
    StreamType,
    type_name,
    validate_user_type,
)


def test_the_numbers_are_those_of_the_wire() -> None:
    """Control is 0x01 and A2A 0x02, as the Go node has them."""
    assert {kind.name: kind.value for kind in StreamType} == {"CONTROL": 1, "A2A": 2}


def test_every_number_is_somebodys() -> None:
    """Ours, reserved, users' and the rest do not overlap; users have 0x10 to 0xef."""
    assert not set(USER_TYPES) & (set(RESERVED_TYPES) | set(StreamType))
    assert (min(USER_TYPES), max(USER_TYPES), min(RESERVED_TYPES), max(RESERVED_TYPES)) == (16, 239, 3, 15)


def test_users_types_pass() -> None:
    """A service may take any of the users' types."""
    assert [validate_user_type(kind) for kind in USER_TYPES] == list(USER_TYPES)


@pytest.mark.parametrize("kind", [-1, *range(0x10), *range(0xF0, 0x102)])
def test_other_types_are_refused(kind: int) -> None:
    """Every other number is refused with the range to choose from."""
    with pytest.raises(UsageError, match="take one from 0x10 to 0xef"):
        validate_user_type(kind)


@pytest.mark.parametrize(("kind", "name"), [(1, "CONTROL"), (2, "A2A"), (3, "0x03"), (0xEF, "0xef")])
def test_types_in_words(kind: int, name: str) -> None:
    """Our types have names, the others numbers."""
    assert type_name(kind) == name
