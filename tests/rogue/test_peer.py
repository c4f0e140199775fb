"""The rogue against itself, stock aioquic on both ends: what a node will refuse is sent at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aioquic.tls import Epoch, HandshakeType

from rogue import messages
from rogue.peer import Peer, RogueClient, RogueServer
from rogue.script import Script
from support import certs


def honest(**changes: object) -> Script:
    """Return the script of a peer that does everything right, but for ``changes``."""
    made = certs.node_leaf("r")
    return Script(**({"chain": made.chain_der, "key": made.key} | changes))


@asynccontextmanager
async def meeting(client: Script, server: Script) -> AsyncIterator[tuple[Peer, Peer]]:
    """Yield both ends of one connection."""
    async with RogueServer(server) as listening, RogueClient(listening.address, client) as dialling:
        yield dialling, await listening.peer()


async def test_two_honest_rogues_agree() -> None:
    """Certificates are exchanged both ways, the handshake is confirmed and stream bytes arrive."""
    script = honest(stream=b"hello")
    async with meeting(script, honest()) as (client, server):
        assert await client.outcome() is None
        assert await server.outcome() is None
        await server.until(lambda: server.received[0] == b"hello")
        assert server.connection.peer_chain == script.chain


async def test_bytes_come_back_on_a_stream() -> None:
    """A server's answer and the end of its stream reach the client."""
    async with meeting(honest(stream=b"hello"), honest()) as (client, server):
        await server.until(lambda: server.received[0] == b"hello")
        server.send(0, b"bye", end=True)
        await client.until(lambda: client.ended == {0: None})
        assert client.received[0] == b"bye"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"chain": [certs.node_leaf("x").der, b""]}, 0x12A, id="unparsable chain"),
        pytest.param({"prove": lambda _: (0x0401, b"what")}, 0x12F, id="scheme of its own"),
        pytest.param({"versions": [0x0303]}, 0x146, id="TLS 1.2"),
        pytest.param({"session_id": b"x" * 32}, 0x0A, id="session id"),
        pytest.param({"arrange": messages.twice(HandshakeType.CERTIFICATE)}, 0x10A, id="Certificate twice"),
        pytest.param({"arrange": messages.first(HandshakeType.FINISHED)}, 0x10A, id="Finished first"),
        pytest.param({"arrange": messages.without(HandshakeType.CERTIFICATE)}, 0x10A, id="no Certificate"),
        pytest.param({"afterwards": messages.KEY_UPDATE}, 0x10A, id="KeyUpdate"),
        pytest.param({"afterwards": messages.certificate_request()}, 0x10A, id="CertificateRequest"),
    ],
)
async def test_what_a_client_breaks_reaches_a_server(changes: dict[str, object], code: int) -> None:
    """A stock server answers each breach that it knows with the code of that breach."""
    async with meeting(honest(**changes), honest()) as (client, _server):
        closed = await client.closed()
        assert closed.code == code
        assert closed.frame_type is not None


async def test_a_stock_server_takes_a_client_without_a_certificate() -> None:
    """Nothing but the node's own check stands between an empty Certificate message and the handshake."""
    async with meeting(honest(chain=()), honest()) as (client, _server):
        assert await client.outcome() is None


@pytest.mark.parametrize("alpn", [None, ("h3",)], ids=["none", "h3"])
async def test_a_server_may_answer_another_alpn(alpn: tuple[str, ...] | None) -> None:
    """A rogue server names the protocol of its script, whatever was offered; a stock client refuses it."""
    async with meeting(honest(), honest(alpn=alpn)) as (_client, server):
        assert (await server.closed()).alert == 120


@pytest.mark.parametrize(
    "arrange",
    [
        messages.moved(HandshakeType.CERTIFICATE, Epoch.INITIAL),
        messages.begun_early(HandshakeType.CERTIFICATE),
    ],
    ids=["a whole message", "the begin of one"],
)
async def test_stock_takes_a_certificate_from_an_initial_packet(arrange: object) -> None:
    """Nothing but the node's own check stands between an Initial packet and the handshake."""
    async with meeting(honest(arrange=arrange, whole_flight=True), honest()) as (client, _server):
        assert await client.outcome() is None


async def test_an_edit_enters_both_transcripts() -> None:
    """A message rewritten by an edit is hashed as it is sent, so the handshake still completes."""
    edit = messages.change_server_hello(other_extensions=[(0xFAFA, b"grease")])
    async with meeting(honest(), honest(edit=edit)) as (client, _server):
        assert await client.outcome() is None


async def test_an_empty_chain_of_a_server_is_refused_by_a_stock_client() -> None:
    """A server's empty Certificate message reaches the client: decode_error (RFC 8446 section 4.4.2.4)."""
    async with meeting(honest(), honest(chain=())) as (_client, server):
        assert (await server.closed()).alert == 50


async def test_a_certificate_larger_than_aioquics_buffer_is_sent() -> None:
    """A chain of 100 kB leaves the rogue whole."""
    big = [certs.node_leaf("x").der, bytes(100_000)]
    async with meeting(honest(chain=big), honest()) as (client, _server):
        assert (await client.closed()).alert == 42


async def test_a_rogue_that_gives_up_says_so() -> None:
    """A test that waits in vain because its own rogue closed learns why."""
    async with meeting(honest(), honest(alpn=("h3",))) as (client, _server):
        with pytest.raises(AssertionError, match="gave up"):
            await client.closed()
