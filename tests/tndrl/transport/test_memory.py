"""What is particular to streams in memory; the contract is in test_stream.py."""

from __future__ import annotations

import asyncio

import pytest

from tndrl.errors import StreamResetError
from tndrl.transport.memory import memory_pair


async def test_the_capacity_holds_a_sender() -> None:
    """An end is full with the capacity, and its sender waits until the other has taken something."""
    near, far = memory_pair(capacity=10)
    near.put(b"012345678")
    assert not near.is_full
    sending = asyncio.ensure_future(near.send(b"9"))
    await asyncio.sleep(0)
    assert near.is_full
    assert not sending.done()
    assert await far.receive(5) == b"01234"
    await sending


async def test_both_ends_know_who_gave_up() -> None:
    """The end that aborts is local to itself and remote to the other."""
    near, far = memory_pair()
    near.abort(3)
    for end, remote in ((near, False), (far, True)):
        with pytest.raises(StreamResetError) as raised:
            await end.receive()
        assert (raised.value.code, raised.value.code_name) == (3, "STREAM_TYPE_MISSING")
        assert raised.value.remote is remote


async def test_closing_half_way_is_a_reset() -> None:
    """An end that is closed before both have ended fails the other with CANCELLED."""
    near, far = memory_pair()
    await near.aclose()
    with pytest.raises(StreamResetError) as raised:
        await far.receive()
    assert raised.value.code_name == "CANCELLED"
