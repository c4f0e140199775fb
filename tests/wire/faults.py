"""Random faults in bytes, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

EDGES = (0x00, 0x01, 0x3F, 0x40, 0x7F, 0x80, 0xBF, 0xC0, 0xFF)
"""Where numbers of RFC 9000 section 16 change their length, and the ends of a byte."""


def faulty(data: bytes, dice: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Return ``data`` with one to three faults, perhaps with a part of one of ``others`` in it."""
    made = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        dice.choice((_turn, _set, _cut, _insert, _repeat, _end, _graft))(made, dice, others)
    return bytes(made)


def _at(data: bytearray, dice: random.Random) -> int:
    # Headers come first: half of the faults are in the first 32 bytes.
    return dice.randrange(max(1, min(len(data), 32) if dice.random() < 0.5 else len(data)))


def _turn(data: bytearray, dice: random.Random, _others: Sequence[bytes]) -> None:
    if data:
        data[_at(data, dice)] ^= 1 << dice.randrange(8)


def _set(data: bytearray, dice: random.Random, _others: Sequence[bytes]) -> None:
    if data:
        data[_at(data, dice)] = dice.choice(EDGES)


def _cut(data: bytearray, dice: random.Random, _others: Sequence[bytes]) -> None:
    at = _at(data, dice)
    del data[at : at + dice.randrange(1, 17)]


def _insert(data: bytearray, dice: random.Random, _others: Sequence[bytes]) -> None:
    at = _at(data, dice)
    data[at:at] = dice.randbytes(dice.randrange(1, 17))


def _repeat(data: bytearray, dice: random.Random, _others: Sequence[bytes]) -> None:
    at = _at(data, dice)
    data[at:at] = data[at : at + dice.randrange(1, 65)] * dice.randrange(1, 9)


def _end(data: bytearray, dice: random.Random, _others: Sequence[bytes]) -> None:
    del data[_at(data, dice) :]


def _graft(data: bytearray, dice: random.Random, others: Sequence[bytes]) -> None:
    if others:
        other = dice.choice(others)
        begin = _at(bytearray(other), dice)
        data[_at(data, dice) :] = other[begin:]
