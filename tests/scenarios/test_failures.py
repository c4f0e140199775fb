"""Why there is no connection, or none any more: each reason is its own exception, and calls tell it too."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from aioquic.asyncio import serve
from aioquic.quic.configuration import QuicConfiguration

import tndrl
from rogue.peer import RogueServer
from rogue.script import Script
from support import certs, nodes, processes, requires
from support.workshop import Work, stub_of
from tndrl.errors import (
    AlpnMismatchError,
    CertificateRefusedError,
    NoAnswerError,
    PeerCertificateError,
    PortClosedError,
    TndrlError,
    WrongIdentityError,
)

UNKNOWN_CA, ACCESS_DENIED = 48, 49


async def fault(folder: Path, target: str, **flags: object) -> TndrlError:
    """Return why "b" cannot connect to ``target``, once both sides have had their say."""
    with pytest.raises(TndrlError) as raised:
        async with nodes.calling(folder, "b", target, **flags) as peer:
            await peer.confirmed()
    return raised.value


async def details(peer: tndrl.Peer) -> str:
    """Return what a Ping that finds no connection says."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await nodes.ping(nodes.control(peer))
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    return raised.value.details() or ""


@asynccontextmanager
async def somebody_silent() -> AsyncIterator[str]:
    """Yield an address where datagrams are taken and nothing is said."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{mute.getsockname()[1]}"


def closed_port() -> str:
    """Return an address where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{gone.getsockname()[1]}"


@pytest.fixture
def strange(short_dir: Path) -> Path:
    """Return a caller's folder with a certificate of a CA that nodes do not trust."""
    chain = certs.leaf(certs.world().stranger, uris=["spiffe://tndrl/node/b"])
    world = certs.world()
    certs.write_pki_dir(short_dir / "strange" / "pki", chain, world.root.pem + world.stranger.pem)
    return short_dir / "strange"


async def test_they_refuse_our_certificate(short_dir: Path, strange: Path) -> None:
    """A peer that does not know our CA: CertificateRefusedError with the alert it sent."""
    async with nodes.running(short_dir / "a") as node:
        error = await fault(strange, node.address)
    assert isinstance(error, CertificateRefusedError)
    assert (error.alert, error.alert_name) == (UNKNOWN_CA, "unknown_ca")
    assert "refused our certificate: unknown_ca" in str(error)


async def test_calls_tell_that_they_refuse_us(short_dir: Path, strange: Path) -> None:
    """A call over a connection that the peer then refuses fails with that reason in its details."""
    async with nodes.running(short_dir / "a") as node, nodes.calling(strange, "b", node.address) as peer:
        assert "refused our certificate: unknown_ca" in await details(peer)
        assert isinstance(peer.failure, CertificateRefusedError)


async def test_they_do_not_allow_us(short_dir: Path) -> None:
    """A peer whose server.allow does not name us: CertificateRefusedError, access_denied."""
    async with nodes.running(short_dir / "a", server__allow=["spiffe://tndrl/node/c"]) as node:
        error = await fault(short_dir / "b", node.address)
    assert isinstance(error, CertificateRefusedError)
    assert error.alert == ACCESS_DENIED


async def test_we_refuse_their_certificate(short_dir: Path) -> None:
    """A peer of a CA that we do not know: PeerCertificateError with the alert we sent."""
    ours = certs.leaf(certs.world().stranger, uris=["spiffe://tndrl/node/b"])
    certs.write_pki_dir(short_dir / "b" / "pki", ours, certs.world().stranger.pem)
    async with nodes.running(short_dir / "a") as node:
        error = await fault(short_dir / "b", node.address)
    assert type(error) is PeerCertificateError
    assert error.alert == UNKNOWN_CA


async def test_somebody_else_is_there(short_dir: Path) -> None:
    """A valid peer of another identity than expected: WrongIdentityError with both of them."""
    expected = "spiffe://tndrl/node/z"
    async with nodes.running(short_dir / "a") as node:
        known = [{"name": "z", "addr": node.address, "identity": expected}]
        error = await fault(short_dir / "b", "z", peers=known)
    assert isinstance(error, WrongIdentityError)
    assert (error.expected, error.actual, error.alert) == (expected, "spiffe://tndrl/node/a", ACCESS_DENIED)


async def test_another_host_name(short_dir: Path) -> None:
    """A valid peer whose certificate is not for the host that was dialled: PeerCertificateError that names it."""
    elsewhere = certs.node_leaf("a", dns=["elsewhere.example"], ips=[])
    async with nodes.running(short_dir / "a", elsewhere) as node:
        error = await fault(short_dir / "b", node.address)
    assert type(error) is PeerCertificateError
    assert "127.0.0.1" in error.reason


async def test_nobody_answers(short_dir: Path) -> None:
    """Silence: NoAnswerError when the connect timeout has passed, and not much later."""
    began = time.monotonic()
    async with somebody_silent() as address:
        error = await fault(short_dir / "b", address, transport__connectTimeout=0.3)
    assert isinstance(error, NoAnswerError)
    assert error.timeout == 0.3
    assert 0.3 <= time.monotonic() - began < 1


async def test_nobody_listens(short_dir: Path) -> None:
    """A closed port: PortClosedError, long before any timeout."""
    requires.linux()
    began = time.monotonic()
    error = await fault(short_dir / "b", closed_port())
    assert isinstance(error, PortClosedError)
    assert time.monotonic() - began < 1


async def test_a_stock_server_of_another_protocol(short_dir: Path) -> None:
    """A QUIC server that speaks something else says so itself: AlpnMismatchError."""
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE)
    leaf = certs.node_leaf("a")
    configuration.certificate, configuration.private_key = leaf.certificate, leaf.key
    server = await serve("127.0.0.1", 0, configuration=configuration)
    host, port = server._transport.get_extra_info("sockname")
    error = await fault(short_dir / "b", f"{host}:{port}")
    server.close()
    await asyncio.sleep(0)
    assert isinstance(error, AlpnMismatchError)


async def test_a_server_that_chooses_another_protocol(short_dir: Path) -> None:
    """A server that answers with a protocol nobody offered is refused: AlpnMismatchError."""
    leaf = certs.node_leaf("a")
    async with RogueServer(Script(chain=leaf.chain_der, key=leaf.key, alpn=("h3",))) as server:
        error = await fault(short_dir / "b", server.address)
    assert isinstance(error, AlpnMismatchError)


async def test_a_peer_that_stops_answering(short_dir: Path) -> None:
    """A call over a connection that goes silent fails after the idle timeout, which its details name."""
    async with (
        processes.serving(short_dir / "a") as node,
        nodes.calling(short_dir / "b", "b", node.address, transport__idleTimeout=1) as peer,
    ):
        call = stub_of(peer).MakeMany(Work(how="hold", pieces=1))
        await call.initial_metadata()
        node.signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError, match="idle timeout") as raised:
            await call.read()
        assert 0.5 < time.monotonic() - began < 1 + 1
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert node.address in (raised.value.details() or "")
        node.signal(signal.SIGCONT)
        assert (await stub_of(peer).Make(Work(material=b"oak"))).material == b"oak"


async def test_a_peer_that_is_killed(short_dir: Path) -> None:
    """A call fails soon after its peer was killed, because the port is closed, which its details name."""
    requires.linux()
    async with (
        processes.serving(short_dir / "a") as node,
        nodes.calling(short_dir / "b", "b", node.address, transport__keepalive=1) as peer,
    ):
        call = stub_of(peer).MakeMany(Work(how="hold", pieces=1))
        await call.initial_metadata()
        node.signal(signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError, match="nobody listens on") as raised:
            await call.read()
        assert time.monotonic() - began < 1 + 1 + 1  # a keepalive, and a second of doubt
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "nobody listens on" in await details(peer)
