"""What stands between calls and early data."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tndrl.transport.early import EarlyGate
from tndrl.transport.memory import memory_pair


class Session:
    """A session that is early until its handshake is over."""

    def __init__(self, *, early: bool = True) -> None:
        self.is_early = early
        self._told: list[Callable[[], None]] = []

    def connect(self) -> None:
        self.is_early = False
        for tell in self._told:
            tell()

    def when_connected(self, told: Callable[[], None]) -> None:
        self._told.append(told)


async def test_calls_that_may_run_twice_go_out_at_once() -> None:
    """Nothing is held while nothing else runs."""
    near, far = memory_pair()
    stream = EarlyGate().guard(near, Session())
    await stream.send(b"ping")
    assert await far.receive() == b"ping"


async def test_any_other_call_waits_for_the_handshake() -> None:
    """Once a call has begun that must not run twice, nothing more is sent before the handshake is complete."""
    gate, session, (near, far) = EarlyGate(), Session(), memory_pair()
    stream = gate.guard(near, session)
    gate.begin()
    sending = asyncio.ensure_future(stream.send(b"shutdown"))
    receiving = asyncio.ensure_future(far.receive())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not receiving.done()
    session.connect()
    await sending
    assert await receiving == b"shutdown"
    assert gate.held == 1


async def test_a_call_that_was_given_up_stays_held() -> None:
    """What grpcio has written of it may still be on its way to us when it is cancelled."""
    gate, session, (near, _far) = EarlyGate(), Session(), memory_pair()
    stream = gate.guard(near, session)
    gate.begin()
    gate.end()
    sending = asyncio.ensure_future(stream.send(b"shutdown"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not sending.done()
    session.connect()
    await sending


async def test_a_gate_opens_with_the_last_call() -> None:
    """A stream may be opened early while no call runs that must not be early; those it waits for are counted."""
    gate = EarlyGate()
    assert gate.is_open
    gate.begin()
    gate.begin()
    gate.note_held()
    gate.end()
    assert not gate.is_open
    gate.end()
    assert gate.is_open
    assert gate.held == 2


async def test_a_stream_after_the_handshake_is_left_alone() -> None:
    """Once there is nothing early any more a stream is itself, and calls on it are not held."""
    gate, (near, _far) = EarlyGate(), memory_pair()
    assert gate.guard(near, Session(early=False)) is near
    session = Session()
    stream = gate.guard(near, session)
    session.connect()
    gate.begin()
    await stream.send(b"shutdown")
    assert gate.held == 0


async def test_a_closed_stream_is_forgotten() -> None:
    """What is over holds nothing and is not kept."""
    gate, (near, far) = EarlyGate(), memory_pair()
    stream = gate.guard(near, Session())
    await stream.send_eof()
    assert await far.receive() == b""
    await far.send(b"x")
    assert await stream.receive() == b"x"
    stream.abort(1)
    await stream.aclose()
    gate.begin()
    assert gate.held == 0
    await far.aclose()


@pytest.mark.parametrize("count", [1, 3])
async def test_each_held_call_is_counted_once(count: int) -> None:
    """However many streams it could have gone out on."""
    gate, session = EarlyGate(), Session()
    streams = [gate.guard(memory_pair()[0], session) for _ in range(3)]
    for _ in range(count):
        gate.begin()
    assert gate.held == count
    for stream in streams:
        await stream.aclose()
