"""The calling side: connections that are shared, replaced and refused, each failure by its own name."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import grpc
import grpc.aio
import pytest

from pki.alerts import Alert
from pki.spiffe import IdPattern
from rogue.peer import RogueServer
from rogue.script import Script
from support import certs, requires, streams
from support.streams import ECHO_TYPE, GRPC_TYPE, RawClient
from tndrl.config import LimitsConfig
from tndrl.errors import (
    AlpnMismatchError,
    CertificateRefusedError,
    ConnectError,
    ConnectionClosedError,
    NameResolutionError,
    NoAnswerError,
    PeerCertificateError,
    PortClosedError,
    StreamRefusedError,
    TndrlError,
    UsageError,
    WrongIdentityError,
)
from tndrl.transport import addresses, http2
from tndrl.transport.dialer import MuxDialer, Target
from tndrl.transport.quic_settings import QuicSettings


async def who(_request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    return context.peer().encode()


TABLE = {"Who": grpc.unary_unary_rpc_method_handler(who)}


async def call(channel: grpc.aio.Channel) -> bytes:
    """Call the method of the table; return the local name of the connection."""
    return await channel.unary_unary("/test.Service/Who")(b"", timeout=5)


async def failing(target: Target, **options: object) -> TndrlError:
    """Dial in vain; return the error."""
    async with streams.dialer(**options) as dialer:
        with pytest.raises(TndrlError) as raised:
            await dialer.dial(target)
        assert dialer.failure(target) is raised.value
        return raised.value


# Connections


async def test_channels_share_a_connection_and_not_a_stream(short_dir: Path) -> None:
    """Two channels to one peer are one QUIC connection and two streams."""
    async with streams.serving(short_dir, TABLE) as listener, streams.dialer() as dialer:
        target = streams.target(listener.address)
        names = [await call(dialer.channel(target, GRPC_TYPE)) for _ in range(2)]
        assert names[0] != names[1]
        assert listener.stats()["handshakes_completed"] == 1
        assert (dialer.stats()["connections_open"], dialer.stats()["streams_open"]) == (1, 2)
        assert repr(dialer) == "<MuxDialer 1 connections, 2 channels>"


async def test_concurrent_first_calls_make_one_handshake(short_dir: Path) -> None:
    """However many call at once, they wait for the same handshake."""
    async with streams.serving(short_dir, TABLE) as listener, streams.dialer() as dialer:
        target = streams.target(listener.address)
        await asyncio.gather(*(call(dialer.channel(target, GRPC_TYPE)) for _ in range(10)))
        assert listener.stats()["handshakes_completed"] == 1


async def test_a_dead_connection_is_replaced_at_the_next_call(short_dir: Path) -> None:
    """After the peer closed a connection the same channel makes another one."""
    async with streams.serving(short_dir, TABLE) as listener, streams.dialer() as dialer:
        target = streams.target(listener.address)
        channel = dialer.channel(target, GRPC_TYPE)
        await call(channel)
        (session,) = listener.sessions
        session.close(0, "tidying up")
        await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        assert isinstance(dialer.failure(target), ConnectionClosedError)
        await call(channel)
        assert dialer.failure(target) is None
        assert listener.stats()["handshakes_completed"] == 2


async def test_a_connection_by_name_is_none_by_identity(short_dir: Path) -> None:
    """Where an identity is expected, a connection that was verified by host name is not used."""
    async with streams.listening(short_dir) as (listener, _echo), streams.dialer() as dialer:
        first = await dialer.dial(streams.target(listener.address))
        second = await dialer.dial(streams.target(listener.address, streams.node_id("a")))
        assert first is not second
        with pytest.raises(WrongIdentityError):
            await dialer.dial(streams.target(listener.address, streams.node_id("c")))


async def test_a_cancelled_dial_leaves_the_others(short_dir: Path) -> None:
    """Whoever gives up waiting does not end the handshake for the rest."""
    async with streams.listening(short_dir) as (listener, _echo), streams.dialer() as dialer:
        target = streams.target(listener.address)
        one, two = (asyncio.ensure_future(dialer.dial(target)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        assert (await two).is_connected


async def test_a_stream_begins_with_its_type(short_dir: Path) -> None:
    """An opened stream carries its type byte, then whatever is sent."""
    async with streams.listening(short_dir) as (listener, echo), streams.dialer() as dialer:
        stream = await dialer.open_stream(streams.target(listener.address), ECHO_TYPE)
        await stream.send(streams.HELLO)
        assert await stream.receive() == http2.SETTINGS
        assert echo.received == http2.SETTINGS
        await stream.aclose()


async def test_more_streams_than_the_peer_allows(short_dir: Path) -> None:
    """When stream credit runs out there are up to three connections; then a stream is refused by name."""
    one_each = QuicSettings(limits=LimitsConfig(streams=1))
    async with (
        streams.listening(short_dir, settings=one_each) as (listener, _echo),
        streams.dialer() as dialer,
    ):
        target = streams.target(listener.address)
        opened = [await dialer.open_stream(target, ECHO_TYPE) for _ in range(3)]
        assert len({stream.session for stream in opened}) == dialer.stats()["connections_open"] == 3
        with pytest.raises(StreamRefusedError):
            await dialer.open_stream(target, ECHO_TYPE)
        for stream in opened:
            await stream.aclose()


# Failures


async def test_nobody_answers() -> None:
    """A port that swallows everything is no answer within the time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        error = await failing(Target(*silent.getsockname()), connect_timeout=0.2)
    assert isinstance(error, NoAnswerError)
    assert error.timeout == 0.2


async def test_a_port_is_closed() -> None:
    """A port where nobody listens is told from one that is silent, long before the time is over."""
    requires.linux()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    async with asyncio.timeout(3):
        assert isinstance(await failing(Target(*address)), PortClosedError)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".example", "a..b"])
async def test_a_name_means_nothing(host: str) -> None:
    """A host that cannot be found, or that is no name at all, is called so."""
    error = await failing(Target(host, 4433))
    assert isinstance(error, NameResolutionError)
    assert error.address == f"{host}:4433"


async def test_somebody_else_answers(short_dir: Path) -> None:
    """A valid certificate of another identity is refused with both names."""
    async with streams.listening(short_dir) as (listener, _echo):
        error = await failing(streams.target(listener.address, streams.node_id("c")))
        await streams.until(
            lambda: listener.stats().get("handshakes_failed") == 1, lambda: asyncio.sleep(0.01)
        )
    assert isinstance(error, WrongIdentityError)
    assert (error.expected, error.actual) == (streams.node_id("c"), streams.node_id("a"))


async def test_a_stranger_answers(caplog: pytest.LogCaptureFixture) -> None:
    """A certificate that is not valid is refused with the alert, which is counted and logged."""
    made = certs.leaf(certs.world().stranger)
    async with RogueServer(Script(chain=made.chain_der, key=made.key)) as rogue, streams.dialer() as dialer:
        with pytest.raises(PeerCertificateError) as raised:
            await dialer.dial(streams.target(rogue.address))
        assert (await (await rogue.peer()).closed()).alert == raised.value.alert == Alert.unknown_ca
        assert dialer.stats()["handshakes_refused.unknown_ca"] == 1
    assert f"no connection to {raised.value.address}: refused the certificate" in caplog.text


async def test_something_else_answers() -> None:
    """A server without our protocol is no node."""
    made = streams.honest("rogue")
    async with RogueServer(Script(chain=made.chain, key=made.key, alpn=("h3",))) as rogue:
        assert isinstance(await failing(streams.target(rogue.address)), AlpnMismatchError)


async def test_we_are_refused(short_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A peer that does not let us in: whoever waits for confirmation hears which alert, and so do calls."""
    caplog.set_level(logging.INFO)
    allow = [IdPattern.parse(streams.node_id("friend"))]
    async with (
        streams.listening(short_dir, allow=allow) as (listener, _echo),
        streams.dialer() as dialer,
    ):
        target = streams.target(listener.address)
        with pytest.raises(CertificateRefusedError) as raised:
            await (await dialer.dial(target)).wait_confirmed()
        assert raised.value.alert == Alert.access_denied
        with pytest.raises(grpc.aio.AioRpcError, match="refused our certificate: access_denied"):
            await call(dialer.channel(target, ECHO_TYPE))


async def test_a_family_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this host cannot make the socket, that is the error."""
    async with streams.dialer() as dialer:
        monkeypatch.setattr(addresses, "resolve", lambda _target: asyncio.sleep(0, [(12345, ("::1", 1))]))
        with pytest.raises(ConnectError, match="not supported"):
            await dialer.dial(Target("::1", 1))


# Life


async def test_closing_ends_what_runs(short_dir: Path) -> None:
    """Leaving the dialer closes its channels, its connections and a dial under way, once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with streams.serving(short_dir, TABLE) as listener:
            dialer = await streams.dialer().__aenter__()
            await call(dialer.channel(streams.target(listener.address), GRPC_TYPE))
            dialling = asyncio.ensure_future(dialer.dial(Target(*silent.getsockname())))
            await asyncio.sleep(0)
            await dialer.aclose()
            await dialer.aclose()
            with pytest.raises((asyncio.CancelledError, TndrlError)):
                await dialling
            await streams.until(lambda: not listener.sessions)


async def test_a_channel_that_is_closed_is_forgotten(short_dir: Path) -> None:
    """A dialer keeps no channel that its user has closed."""
    async with streams.serving(short_dir, TABLE) as listener, streams.dialer() as dialer:
        async with dialer.channel(streams.target(listener.address), GRPC_TYPE) as channel:
            await call(channel)
        assert repr(dialer) == "<MuxDialer 1 connections, 0 channels>"


async def test_outside_of_its_block_it_does_nothing() -> None:
    """A dialer that was not entered, or was left, says so."""
    dialer = MuxDialer(streams.credentials("b"))
    with pytest.raises(UsageError, match="async with"):
        await dialer.dial(Target("127.0.0.1", 1))
    with pytest.raises(UsageError, match="async with"):
        dialer.channel(Target("127.0.0.1", 1), 1)


async def test_two_callers_with_one_certificate(short_dir: Path) -> None:
    """Nothing hinders several connections with the same identity."""
    async with (
        streams.listening(short_dir) as (listener, _echo),
        RawClient(listener.address, "b"),
        streams.dialer() as dialer,
    ):
        await (await dialer.dial(streams.target(listener.address))).wait_confirmed()
        assert len(listener.sessions) == 2
