"""A connection that authenticates: what it tells of itself, what it refuses, and what aioquic must still have."""

from __future__ import annotations

from inspect import signature

import pytest
from aioquic import tls
from aioquic.quic.connection import QuicConnection, QuicConnectionState

from rogue.peer import RogueClient
from rogue.script import Script
from support import certs, streams
from tndrl.errors import ConnectError
from tndrl.transport._aioquic.connection import AuthenticatedConnection, Close
from tndrl.transport._aioquic.tls import VerifyingContext
from tndrl.transport.codes import TransportCode
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.session import Session


async def raw(server: streams.Server, script: Script) -> RogueClient:
    """Return a raw client of an endpoint."""
    host, port = server.endpoint.address[:2]
    return RogueClient(f"{host}:{port}", script)


async def test_nothing_is_known_before_the_handshake() -> None:
    """A connection that has heard nothing has no peer, no refusal, no end and no step."""
    with streams.dialling() as client:
        session = streams.dial(client, ("127.0.0.1", 9))
        connection = session._quic
        assert (connection.peer_id, connection.refusal, connection.close_info) == (None, None, None)
        assert connection.has_path
        assert not connection.is_terminated
        assert connection.handshake_step is tls.State.CLIENT_EXPECT_SERVER_HELLO


async def test_no_handshake_completes_without_a_verified_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """If aioquic ever completes one behind our back, the connection is closed before anything is routed."""
    original = tls.Context._server_handle_certificate
    monkeypatch.setattr(VerifyingContext, "_server_handle_certificate", original)
    async with streams.accepting() as server, await raw(server, Script(stream=b"\x01")) as rogue:
        closed = await rogue.closed()
        assert (closed.code, closed.reason) == (TransportCode.INTERNAL_ERROR, "peer was not verified")
        assert server.accepted.empty()
        assert server.confirmed.empty()
        assert not rogue.received


async def test_the_end_is_known_at_once(quic: streams.Quic) -> None:
    """How a connection ended is told when the frame is sent or received, not after the closing period."""
    quic.client.close(6, "enough")
    assert quic.client._quic.close_info == Close(code=6, application=True, reason="enough", remote=False)
    await quic.server.wait_closed()
    assert quic.server._quic.close_info == Close(code=6, application=True, reason="enough", remote=True)
    assert not quic.server._quic.is_terminated
    assert not quic.server._quic.is_idle_timeout


async def test_silence_is_told_from_a_close() -> None:
    """A connection that ended by its idle timeout says so."""
    async with streams.connected(QuicSettings(idle_timeout=0.2, keepalive=100)) as quic:
        for session in (quic.client, quic.server):
            session.liveness._keepalive.cancel()
        await quic.server.wait_closed()
        assert quic.server._quic.is_idle_timeout
        assert quic.server._quic.is_terminated


async def test_the_smaller_idle_timeout_counts() -> None:
    """Both sides keep the shorter of their timeouts (RFC 9000 section 10.1)."""
    brief = QuicSettings(idle_timeout=5)
    async with streams.connected(brief, QuicSettings(idle_timeout=50)) as quic:
        assert quic.client._quic.idle_timeout == quic.server._quic.idle_timeout == 5


async def test_a_fault_closes_one_connection_only(
    quic: streams.Quic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in handling a datagram ends that connection with INTERNAL_ERROR and is logged."""
    other = streams.dial(quic.client_endpoint, quic.server_endpoint.address)
    await other.wait_confirmed()
    monkeypatch.setattr(quic.server._quic, "_payload_received", lambda *_arguments: 1 / 0)
    with pytest.raises(Exception, match="INTERNAL_ERROR"):
        await quic.client.ping()
    await other.ping()
    assert "fault while handling a datagram" in caplog.text


@pytest.mark.parametrize(
    ("stream_id", "side"), [(2, "client"), (1, "server"), (3, "server"), (4 * 1000, "client")]
)
async def test_only_clients_open_streams_and_only_so_many(
    quic: streams.Quic, stream_id: int, side: str
) -> None:
    """A unidirectional stream, a server's, and the one over the limit end the connection (RFC 9000 section 4.6)."""
    sender: Session = getattr(quic, side)
    connection = sender._quic
    connection._remote_max_streams_bidi = connection._remote_max_streams_uni = 1 << 20
    connection._remote_max_stream_data_uni = 1 << 20
    connection.send_stream_data(stream_id, b"x")
    connection._streams[stream_id].is_blocked = False
    sender.flush()
    failure = await sender.wait_closed()
    assert getattr(failure, "code_name", "") == "STREAM_LIMIT_ERROR"


async def test_each_stream_is_told_once(quic: streams.Quic) -> None:
    """A stream opens all below it, and each is announced one time, in order."""
    connection = quic.client._quic
    for stream_id in (0, 4, 8, 12):
        connection.send_stream_data(stream_id, b"")
    connection.send_stream_data(12, b"x")
    quic.client.flush()
    opened = [(await quic.accepted.get()).stream_id for _ in range(4)]
    connection.send_stream_data(4, b"y")
    quic.client.flush()
    await quic.exchange()
    assert opened == [0, 4, 8, 12]
    assert quic.accepted.empty()


async def test_a_certificate_of_the_library_s_own_dislike_ends_in_an_alert() -> None:
    """A certificate that makes the X.509 library raise is refused like any other, not a fault."""
    case = certs.BAD["TLS-43 version 9"].make(certs.Usage.CLIENT)
    assert case is not None
    script = Script(chain=case.chain_der, key=case.key)
    async with streams.accepting() as server, await raw(server, script) as rogue:
        assert (await rogue.closed()).code == 0x12A
        failed = await server.closed.get()
        assert isinstance(failed.failure, Exception)
        assert not isinstance(failed.failure, ConnectError)


# What aioquic must still have

METHODS = {
    "receive_datagram": ["self", "data", "addr", "now"],
    "_initialize": ["self", "peer_cid"],
    "_handle_crypto_frame": ["self", "context", "frame_type", "buf"],
    "_get_or_create_stream": ["self", "frame_type", "stream_id"],
    "_confirm_handshake": ["self"],
}
"""Methods of ``QuicConnection`` that are overridden -> their arguments."""


@pytest.mark.parametrize("name", METHODS)
def test_aioquic_has_the_method(name: str) -> None:
    """A method that is overridden exists in the base class with the same arguments."""
    assert list(signature(getattr(QuicConnection, name)).parameters) == METHODS[name]
    assert getattr(AuthenticatedConnection, name) is not getattr(QuicConnection, name)


async def test_aioquic_has_the_state(quic: streams.Quic) -> None:
    """What is read or set on a connection is there, with the meaning it had."""
    connection = quic.client._quic
    assert connection._state is QuicConnectionState.CONNECTED
    assert connection._close_event is None
    assert len(connection._network_paths) == 1
    assert (connection._is_client, quic.server._quic._is_client) == (True, False)
    assert len(connection._events) == 0
    assert isinstance(connection.tls, VerifyingContext)
    limit = quic.server._quic._local_max_streams_bidi
    assert (limit.value, limit.sent, limit.used) == (1000, 1000, 0)
    assert connection._local_max_streams_bidi.value == connection._local_max_streams_uni.value == 0
    assert connection._idle_timeout() == 60
