"""Connections that are made, doubted, evicted and tried again."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path

import pytest

from support import requires, streams
from support.link import Link, UdpLink
from support.streams import ECHO_TYPE
from tndrl.errors import ConnectionClosedError, NoAnswerError, PortClosedError, UsageError
from tndrl.transport import addresses, backoff
from tndrl.transport.codes import ErrorCode
from tndrl.transport.connections import TargetGate
from tndrl.transport.dialer import Target
from tndrl.transport.session import Session
from tndrl.transport.starts import Starts

LONG_AGO = -3600.0


async def test_a_connection_without_streams_is_closed(short_dir: Path) -> None:
    """A connection that carried nothing for long is closed in order, never one under a live stream."""
    async with (
        streams.listening(short_dir) as (listener, _echo),
        streams.dialer(evict_after=0.2) as dialer,
    ):
        target = streams.target(listener.address)
        stream = await dialer.open_stream(target, ECHO_TYPE)
        await stream.send(streams.HELLO)
        assert await stream.receive()
        session = await dialer.dial(target)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await session.wait_closed()
        await stream.aclose()
        async with asyncio.timeout(5):
            ended = await session.wait_closed()
        assert isinstance(ended, ConnectionClosedError)
        assert (ended.code, ended.reason, ended.remote) == (ErrorCode.NO_ERROR, "idle", False)
        assert (dialer.failure(target), dialer.stats()["connections_evicted"]) == (None, 1)
        assert (await dialer.dial(target)).is_connected


async def test_a_silent_connection_is_asked_before_it_is_used_again(short_dir: Path) -> None:
    """A connection that was silent for longer than the keepalive interval has to answer a PING first."""
    async with (
        streams.listening(short_dir) as (listener, _echo),
        streams.dialer() as dialer,
    ):
        target = streams.target(listener.address)
        session = await dialer.dial(target)
        silence(session)
        assert await dialer.dial(target) is session
        assert session.heard_at > LONG_AGO


async def test_a_dead_connection_is_found_out_before_it_is_used(short_dir: Path) -> None:
    """One that does not answer is replaced; once the peer has answered anew, what waits on the old one is ended."""
    async with (
        streams.listening(short_dir) as (listener, _echo),
        streams.dialer() as dialer,
    ):
        target = streams.target(listener.address)
        session = await dialer.dial(target)
        streams.deafen(session)
        silence(session)
        fresh = await dialer.dial(target)
        assert fresh is not session
        async with asyncio.timeout(5):
            assert "nothing heard" in str(await session.wait_closed())
        assert dialer.failure(target) is None


def silence(session: Session) -> None:
    """Let the session's peer have been silent for long, and send no PING but when asked."""
    assert session.liveness._keepalive is not None
    session.liveness._keepalive.cancel()
    session.heard_at = LONG_AGO


async def test_a_silent_first_address_costs_a_quarter_of_a_second(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an address does not answer the next one is tried beside it, and whoever loses leaves nothing behind."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with (
            streams.listening(short_dir) as (listener, _echo),
            streams.dialer() as dialer,
        ):
            good = streams.target(listener.address)
            found = [(socket.AF_INET, silent.getsockname()), (socket.AF_INET, (good.host, good.port))]
            monkeypatch.setattr(addresses, "resolve", lambda _target: asyncio.sleep(0, found))
            async with asyncio.timeout(2):
                assert (await dialer.dial(good)).is_connected
            assert len(dialer._connections._endpoints[socket.AF_INET].sessions) == 1


async def test_a_name_that_means_another_address_now(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is resolved for each try: a peer that moved is found where its name says now."""
    requires.linux()
    async with streams.listening(short_dir) as (listener, _echo), streams.dialer() as dialer:
        good = streams.target(listener.address)
        found = [(socket.AF_INET, ("127.0.0.1", 9))]
        monkeypatch.setattr(addresses, "resolve", lambda _target: asyncio.sleep(0, found))
        with pytest.raises(PortClosedError):
            await dialer.dial(good)
        found[:] = [(socket.AF_INET, (good.host, good.port))]
        dialer._connections.pool.heard_of(None, good.host, good.port)
        assert (await dialer.dial(good)).is_connected


async def test_a_try_that_failed_just_now_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls within a moment of a failed try hear its reason again, and make no datagrams."""
    requires.linux()
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    async with streams.dialer() as dialer:
        target = Target("127.0.0.1", 9)
        for _ in range(3):
            with pytest.raises(PortClosedError):
                await dialer.dial(target)
        assert dialer.stats()["handshakes_failed"] == 1


# Waiting


async def test_who_waits_goes_on_when_a_silent_connection_answers(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was dark for a while is used again the moment it answers, whatever the pause."""
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 30.0)
    async with streams.listening(short_dir) as (listener, _echo):
        link = UdpLink(listener.address, Link(1))
        async with link, streams.dialer(connect_timeout=0.3) as dialer, asyncio.timeout(15):
            target = streams.target(link.address, streams.node_id("a"))
            session = await dialer.dial(target)
            await session.wait_confirmed()
            silence(session)
            link.black_out(2.0)
            with pytest.raises(NoAnswerError):
                await dialer.dial(target)
            gate = TargetGate(dialer._connections, target)
            assert not gate.is_open(waits=True)
            assert await gate.opened(waits=True) is False
            assert await dialer.dial(target) is session


async def test_who_waits_does_so_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a peer makes no try during the pause, and hears so when the dialer is closed."""
    requires.linux()
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 30.0)
    monkeypatch.setattr(backoff, "LONGEST_REFUSAL", 0)
    async with streams.dialer() as dialer:
        gate = TargetGate(dialer._connections, Target("127.0.0.1", 9))
        waiting = asyncio.ensure_future(gate.opened(waits=True))
        await streams.until(lambda: bool(dialer._connections._changes._waiters), lambda: asyncio.sleep(0.01))
        assert isinstance(gate.failure, PortClosedError)
        await asyncio.sleep(0.2)  # nothing happens, which is what the test is about
        assert dialer.stats()["handshakes_failed"] == 1
    with pytest.raises(UsageError, match="closed"):
        await waiting


async def test_waiting_has_the_end_that_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told how long to keep trying, a caller that waits gives up then, in the middle of a pause too."""
    requires.linux()
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 30.0)
    async with streams.dialer(reconnect_for=0.2) as dialer, asyncio.timeout(5):
        gate = TargetGate(dialer._connections, Target("127.0.0.1", 9))
        assert await gate.opened(waits=True) is False
        assert isinstance(gate.failure, PortClosedError)


async def test_one_success_ends_the_pauses_of_its_address(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a peer is reached, others that wait for the same address try again at once."""
    requires.linux()
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 30.0)
    async with streams.dialer() as dialer, asyncio.timeout(15):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        by_name, by_identity = (
            streams.target(f"127.0.0.1:{port}", expected) for expected in (None, streams.node_id("a"))
        )
        with pytest.raises(PortClosedError):
            await dialer.dial(by_identity)
        waiting = asyncio.ensure_future(TargetGate(dialer._connections, by_identity).opened(waits=True))
        async with streams.listening(short_dir, port=port):
            await dialer.dial(by_name)
            assert await waiting is True


async def test_handshakes_take_turns(short_dir: Path) -> None:
    """While as many handshakes are under way as may be, another waits for its turn."""
    async with (
        streams.listening(short_dir) as (listener, _echo),
        streams.dialer() as dialer,
    ):
        dialer._connections._starts = Starts(1)
        async with dialer._connections._starts.turn():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await dialer.dial(streams.target(listener.address))
        assert (await dialer.dial(streams.target(listener.address))).is_connected
