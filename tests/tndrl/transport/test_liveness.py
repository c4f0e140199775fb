"""Whether a peer lives: keepalives, handshakes that stand still, and reports that it is gone."""

from __future__ import annotations

import asyncio

import pytest

from support import streams
from tndrl.errors import ConnectError, PortClosedError
from tndrl.transport import liveness
from tndrl.transport.quic_settings import QuicSettings


async def test_keepalive_holds_a_connection() -> None:
    """PINGs at a third of the idle timeout keep a quiet connection alive, whatever interval was asked for."""
    brief = QuicSettings(idle_timeout=0.3, keepalive=100)
    async with streams.connected(brief) as quic:
        heard = quic.server_endpoint.counters
        before = heard["datagrams_received"]
        await streams.until(lambda: heard["datagrams_received"] >= before + 12, lambda: asyncio.sleep(0.02))
        assert quic.server.is_connected


async def test_a_handshake_without_progress_is_refused() -> None:
    """A client that stops in the middle of its handshake is closed after the handshake timeout, with its reason."""
    async with streams.accepting(QuicSettings(handshake_timeout=0.2)) as server:
        with streams.dialling() as client:
            session = streams.dial(client, server.endpoint.address)
            session.receive_datagram = lambda *_: None
            async with asyncio.timeout(5):
                failed = await server.closed.get()
    assert isinstance(failed.failure, ConnectError)
    assert "no progress for 0.2 s" in str(failed.failure)
    assert server.confirmed.empty()


async def refuse_doubt(quic: streams.Quic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client believe a report that its peer's port is closed only after a short while."""
    monkeypatch.setattr(liveness, "DOUBT_TIMEOUT", 0.2)
    quic.client.liveness.doubt(PortClosedError("peer"))
    quic.client.liveness.doubt(PortClosedError("peer"))


async def test_a_forged_report_is_disproved(quic: streams.Quic, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer said to be gone that still answers stays connected."""
    await refuse_doubt(quic, monkeypatch)
    await streams.until(lambda: quic.client.liveness._doubt is None, lambda: asyncio.sleep(0.02))
    assert quic.client.is_connected


async def test_a_true_report_is_believed(quic: streams.Quic, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer said to be gone that does not answer is gone."""
    quic.server_endpoint._udp.close()
    await refuse_doubt(quic, monkeypatch)
    assert isinstance(await quic.client.wait_closed(), PortClosedError)
