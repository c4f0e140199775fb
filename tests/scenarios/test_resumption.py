"""Connections that begin where an earlier one ended: what goes out early, what waits, and what becomes of a refusal."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from rogue.peer import RogueServer
from rogue.script import Script
from support import certs, streams
from support.link import Link, UdpLink
from support.stopwatch import ROUND_TRIP, Stopwatch
from support.streams import ECHO_TYPE, GRPC_TYPE
from tndrl.config import LimitsConfig
from tndrl.errors import ConnectError, WrongIdentityError
from tndrl.transport import addresses
from tndrl.transport.dialer import Target
from tndrl.transport.gate import CallGate
from tndrl.transport.listener import MuxListener
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.tickets import MemoryTickets


async def who(_request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    return context.peer().encode()


TABLE = {"Who": grpc.unary_unary_rpc_method_handler(who)}


async def call(channel: grpc.aio.Channel, timeout: float = 5) -> bytes:
    """Call the method of the table."""
    return await channel.unary_unary("/test.Service/Who")(b"", timeout=timeout)


IDEMPOTENT = ("/test.Service/Who",)


@asynccontextmanager
async def served(folder: Path, **options: Any) -> AsyncIterator[MuxListener]:
    """Yield a listener whose one method may be called in early data."""
    async with streams.serving(folder, TABLE, idempotent=IDEMPOTENT, **options) as listener:
        yield listener


async def visited(target: Target, store: MemoryTickets) -> None:
    """Connect once and come back with tickets."""
    async with streams.dialer(tickets=store) as dialer:
        session = await dialer.dial(target)
        await streams.until(lambda: len(store) > 0, session.ping)


async def test_a_connection_is_resumed_by_the_next_dialer(short_dir: Path) -> None:
    """Whoever has a ticket need not wait: the identity is known, and an idempotent call is answered in early data."""
    store = MemoryTickets(10)
    async with served(short_dir) as listener:
        target = streams.target(listener.address, streams.node_id("a"))
        await visited(target, store)
        async with streams.dialer(tickets=store) as dialer:
            session = await dialer.dial(target, early=True)
            assert session.is_early
            assert str(session.peer_id) == streams.node_id("a")
            await call(dialer.channel(target, GRPC_TYPE, idempotent=IDEMPOTENT))
            assert (await dialer.dial(target)) is session
            stats = dialer.stats()
            assert [stats[name] for name in ("tickets_offered", "tickets_accepted")] == [1, 1]
            assert [stats[name] for name in ("early_data_offered", "early_data_accepted")] == [1, 1]
            assert stats["calls_held"] == 0
        stats = listener.stats()
        assert [stats[name] for name in ("tickets_accepted", "early_data_accepted")] == [1, 1]


async def test_any_other_call_is_held_until_the_handshake_is_complete(short_dir: Path) -> None:
    """Neither a call that comes first nor one beside early data goes out in it; both are counted, and answered."""
    store, gate = MemoryTickets(10), CallGate()
    async with (
        streams.serving(short_dir, TABLE, gate) as listener,
        UdpLink(listener.address, Link(1, delay=ROUND_TRIP / 2)) as link,
    ):
        target = streams.target(link.address, streams.node_id("a"))
        await visited(target, store)
        for dialled in (False, True):
            async with streams.dialer(tickets=store) as dialer:
                if dialled:
                    assert (await dialer.dial(target, early=True)).is_early
                await call(dialer.channel(target, GRPC_TYPE))
                assert dialer.stats()["early_data_accepted"] == 1
                assert dialer.stats()["calls_held"] == 1
        assert gate.held == 0  # nothing came that the server would have had to hold


async def test_a_stream_of_one_s_own_is_never_early(short_dir: Path) -> None:
    """What is sent on it is not known to be harmless twice: it is opened when the handshake is complete."""
    store = MemoryTickets(10)
    async with served(short_dir) as listener:
        target = streams.target(listener.address, streams.node_id("a"))
        await visited(target, store)
        async with streams.dialer(tickets=store) as dialer:
            stream = await dialer.open_stream(target, ECHO_TYPE)
            assert stream.session.is_connected
            assert dialer.stats()["tickets_accepted"] == 1
            await stream.aclose()


@pytest.mark.parametrize(
    "settings", [QuicSettings(early_data=False), QuicSettings(limits=LimitsConfig(tickets=0))]
)
async def test_without_early_data_or_tickets_nothing_is_early(
    short_dir: Path, settings: QuicSettings
) -> None:
    """Either can be switched off."""
    store = MemoryTickets(10)
    async with served(short_dir) as listener:
        target = streams.target(listener.address, streams.node_id("a"))
        await visited(target, store)
        async with streams.dialer(tickets=store, settings=settings) as dialer:
            session = await dialer.dial(target, early=True)
            assert session.is_connected
            assert dialer.stats().get("tickets_accepted", 0) == settings.limits.tickets // 1000
            await call(dialer.channel(target, GRPC_TYPE, idempotent=IDEMPOTENT))


async def test_a_ticket_is_for_the_address_it_came_from(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a name's addresses it is offered to that one only, which is tried first."""
    store = MemoryTickets(10)
    async with served(short_dir) as listener:
        good = streams.target(listener.address)
        target = Target("localhost", good.port)
        here = (socket.AF_INET, (good.host, good.port))
        elsewhere = (socket.AF_INET, ("127.0.0.1", 9))
        monkeypatch.setattr(addresses, "resolve", lambda _target: asyncio.sleep(0, [here]))
        await visited(target, store)
        monkeypatch.setattr(addresses, "resolve", lambda _target: asyncio.sleep(0, [elsewhere, here]))
        async with streams.dialer(tickets=store) as dialer:
            assert (await dialer.dial(target, early=True)).is_early
        monkeypatch.setattr(addresses, "resolve", lambda _target: asyncio.sleep(0, [elsewhere]))
        async with streams.dialer(tickets=store) as dialer:
            with pytest.raises(ConnectError):
                await dialer.dial(target, early=True)
            assert "tickets_offered" not in dialer.stats()


async def test_a_node_that_was_restarted_is_called_all_the_same(short_dir: Path) -> None:
    """It knows no ticket of before: the call that went out as early data is answered after the handshake, once."""
    store, gate = MemoryTickets(10), CallGate()
    (short_dir / "1").mkdir()
    (short_dir / "2").mkdir()
    async with served(short_dir / "1") as listener:
        target = streams.target(listener.address, streams.node_id("a"))
        await visited(target, store)
    async with (
        served(short_dir / "2", gate=gate, port=target.port),
        streams.dialer(tickets=store) as dialer,
    ):
        assert (await dialer.dial(target, early=True)).is_early
        await call(dialer.channel(target, GRPC_TYPE, idempotent=IDEMPOTENT))
        stats = dialer.stats()
        assert (stats["early_data_offered"], stats["early_data_accepted"], stats["tickets_accepted"]) == (
            1,
            0,
            0,
        )
        assert gate.total == 1


async def test_somebody_else_at_the_address_is_not_taken_for_who_was_there(short_dir: Path) -> None:
    """Known by host name, a node may be replaced: what was meant for the first is not sent to the second."""
    store = MemoryTickets(10)
    async with served(short_dir) as listener:
        target = streams.target(listener.address)
        await visited(target, store)
    made = certs.node_leaf("rogue")
    async with (
        RogueServer(Script(chain=made.chain_der, key=made.key), port=target.port) as rogue,
        streams.dialer(tickets=store) as dialer,
    ):
        session = await dialer.dial(target, early=True)
        assert str(session.peer_id) == streams.node_id("a")
        with pytest.raises(WrongIdentityError, match="rogue"):
            await dialer.dial(target)
        assert not (await rogue.peer()).received


async def test_a_failed_resumption_is_the_calls_failure(short_dir: Path) -> None:
    """Where nobody is any more, the dial is over at once and the call fails, with the reason."""
    store = MemoryTickets(10)
    async with served(short_dir) as listener:
        target = streams.target(listener.address, streams.node_id("a"))
        await visited(target, store)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((target.host, target.port))
        await fails_later(target, store)


async def fails_later(target: Target, store: MemoryTickets) -> None:
    """Dial whoever does not answer, with a ticket."""
    async with streams.dialer(tickets=store, connect_timeout=0.5) as dialer:
        assert (await dialer.dial(target, early=True)).is_early
        with pytest.raises(grpc.aio.AioRpcError, match="no answer") as raised:
            await call(dialer.channel(target, GRPC_TYPE, idempotent=IDEMPOTENT))
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(ConnectError):
            await dialer.dial(target)


# Round trips, counted


@asynccontextmanager
async def far_away(folder: Path, **options: Any) -> AsyncIterator[tuple[UdpLink, MuxListener, CallGate]]:
    """Yield a slow link to a listener, and what counts its calls."""
    gate = CallGate()
    async with (
        served(folder, gate=gate, **options) as listener,
        UdpLink(listener.address, Link(1, delay=ROUND_TRIP / 2)) as link,
    ):
        yield link, listener, gate


async def first_call(target: Target, store: MemoryTickets, watch: Stopwatch, method: Collection[str]) -> None:
    """Time the first call of a dialer, whose method may be called early if it is among ``method``."""
    async with streams.dialer(tickets=store) as dialer:
        with watch:
            await call(dialer.channel(target, GRPC_TYPE, idempotent=method))
        session = await dialer.dial(target)
        await streams.until(lambda: len(store) > 0, session.ping)


async def test_a_first_call_takes_one_round_trip_where_the_last_took_two(short_dir: Path) -> None:
    """Cold two; resumed one, or two where the call must not run twice: never more than without a ticket."""
    async with far_away(short_dir) as (link, _listener, _gate):
        target = streams.target(link.address, streams.node_id("a"))
        cold, resumed, held = Stopwatch(2), Stopwatch(1), Stopwatch(2)
        while cold.goes_on:
            await first_call(target, MemoryTickets(10), cold, IDEMPOTENT)
        store = MemoryTickets(10)
        await visited(target, store)
        while resumed.goes_on:
            await first_call(target, store, resumed, IDEMPOTENT)
        while held.goes_on:
            await first_call(target, store, held, ())
    assert (cold.round_trips, resumed.round_trips, held.round_trips) == (2, 1, 2)


@pytest.mark.parametrize("method", [IDEMPOTENT, ()], ids=["early", "held"])
async def test_early_data_after_retry_completes_once(short_dir: Path, method: Collection[str]) -> None:
    """QUIC-03a: a node that asks for the address to be proved first costs one round trip more, and nothing is lost."""
    settings = QuicSettings(limits=LimitsConfig(retry_above=0))
    async with far_away(short_dir, settings=settings) as (link, listener, gate):
        target = streams.target(link.address, streams.node_id("a"))
        store, watch = MemoryTickets(10), Stopwatch(2 if method else 3)
        await visited(target, store)
        calls = 0
        while watch.goes_on:
            await first_call(target, store, watch, method)
            calls += 1
        assert watch.round_trips == (2 if method else 3)
        assert gate.total == calls
        stats = listener.stats()
        assert stats["early_data_accepted"] == calls
        assert stats["retries_sent"] > calls
        await streams.until(
            lambda: listener.stats()["handshakes_completed"] == calls + 1, lambda: asyncio.sleep(0.01)
        )


async def test_calls_at_once_on_a_cold_channel_after_retry(short_dir: Path) -> None:
    """A burst of 500 calls on a resumed connection through Retry: none fails, each runs once."""
    settings = QuicSettings(limits=LimitsConfig(retry_above=0))
    async with far_away(short_dir, settings=settings) as (link, _listener, gate):
        target = streams.target(link.address, streams.node_id("a"))
        store = MemoryTickets(10)
        await visited(target, store)
        async with streams.dialer(tickets=store) as dialer:
            channel = dialer.channel(target, GRPC_TYPE, idempotent=IDEMPOTENT)
            await asyncio.gather(*(call(channel, timeout=30) for _ in range(500)))
        assert gate.total == 500
