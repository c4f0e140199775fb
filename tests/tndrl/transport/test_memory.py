"""What is particular to streams in memory; the contract is in test_stream.py."""

from __future__ import annotations

import asyncio

import pytest

from tndrl.errors import StreamResetError
from tndrl.transport.memory import memory_pair


async def test_the_capacity_holds_a_sender() -> None:
    """Exactly the capacity goes out before anybody receives."""
    near, far = memory_pair(capacity=10)
    sending = asyncio.ensure_future(near.send(b"0123456789ab"))
    await asyncio.sleep(0)
    assert await far.receive() == b"0123456789"
    await sending
    assert await far.receive() == b"ab"


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
