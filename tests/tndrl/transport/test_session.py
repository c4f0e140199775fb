"""One QUIC connection: how it begins, lives and ends, as its owner sees it."""

from __future__ import annotations

import asyncio

import pytest

from support import streams
from tndrl.config import LimitsConfig
from tndrl.errors import (
    ConnectionClosedError,
    NoAnswerError,
    PortClosedError,
    StreamRefusedError,
    StreamResetError,
)
from tndrl.transport import session as session_module
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.session import Session
from tndrl.transport.udp import bind_udp


async def test_both_sides_know_each_other(quic: streams.Quic) -> None:
    """After the handshake each side has the other's verified identity."""
    assert str(quic.client.peer_id) == streams.node_id("a")
    assert str(quic.server.peer_id) == streams.node_id("b")
    assert quic.client.is_connected
    assert quic.client.is_confirmed


async def test_repr_tells_the_state(quic: streams.Quic) -> None:
    """The representation names the peer, its identity and what is open."""
    await quic.streams()
    assert repr(quic.client) == "<Session peer confirmed, spiffe://tndrl/node/a, 1 streams>"
    quic.client.close()
    assert "closed" in repr(quic.client)


async def test_close_tells_the_peer_code_and_reason(quic: streams.Quic) -> None:
    """The other side learns our code and our words; this side knows that it closed itself."""
    quic.client.close(6, "enough")
    ours, theirs = await quic.client.wait_closed(), await quic.server.wait_closed()
    for failure, remote in ((ours, False), (theirs, True)):
        assert isinstance(failure, ConnectionClosedError)
        assert (failure.code, failure.code_name, failure.reason) == (6, "SHUTDOWN", "enough")
        assert (failure.application, failure.remote) == (True, remote)


async def test_a_second_close_changes_nothing(quic: streams.Quic) -> None:
    """The first close counts."""
    quic.client.close(6, "first")
    quic.client.close(1, "second")
    failure = await quic.server.wait_closed()
    assert isinstance(failure, ConnectionClosedError)
    assert failure.reason == "first"


async def test_the_end_of_a_connection_ends_its_streams(quic: streams.Quic) -> None:
    """Whoever waits on a stream gets the connection's failure, on both sides."""
    near, far = await quic.streams()
    waiting = [asyncio.ensure_future(stream.receive()) for stream in (near, far)]
    await asyncio.sleep(0)
    quic.server.close(1, "gone")
    for task in waiting:
        with pytest.raises(ConnectionClosedError, match="gone"):
            await task
    assert (quic.client.streams, quic.server.streams) == (0, 0)


async def test_nothing_can_be_opened_on_a_closed_connection(quic: streams.Quic) -> None:
    """Opening a stream, pinging and waiting raise why the connection ended."""
    quic.client.close(0, "done")
    with pytest.raises(ConnectionClosedError, match="done"):
        quic.client.open_stream()
    with pytest.raises(ConnectionClosedError, match="done"):
        await quic.client.ping()
    with pytest.raises(ConnectionClosedError, match="done"):
        await quic.client.wait_connected()


async def test_streams_opened_before_any_is_used_are_different(quic: streams.Quic) -> None:
    """Two streams opened in a row carry each their own bytes."""
    first, second = quic.client.open_stream(), quic.client.open_stream()
    await second.send(b"2")
    await first.send(b"1")
    fars = [await quic.accepted.get() for _ in range(2)]
    assert {await far.receive() for far in fars} == {b"1", b"2"}


async def test_the_peers_limit_of_streams_is_kept() -> None:
    """One stream more than the peer allows is refused here, and allowed once another has ended."""
    async with streams.connected(QuicSettings(limits=LimitsConfig(streams=1))) as quic:
        near, _far = await quic.streams()
        with pytest.raises(StreamRefusedError, match="allows no more streams"):
            quic.client.open_stream()
        near.abort(0)
        await streams.until(lambda: quic.client._quic.streams_left == 1, quic.exchange)
        await quic.streams()


async def test_a_stream_the_peer_opened_silently_is_handed_on(quic: streams.Quic) -> None:
    """A stream is the owner's from its first frame, be it a lone reset, so that none lives unseen."""
    quic.client.open_stream().abort(9)
    far = await quic.accepted.get()
    with pytest.raises(StreamResetError) as raised:
        await far.receive()
    assert raised.value.code == 9


async def test_ping_waits_for_the_answer(quic: streams.Quic) -> None:
    """Any number of pings at once are answered."""
    async with asyncio.timeout(5):
        await asyncio.gather(*(quic.client.ping() for _ in range(10)))


async def test_a_cancelled_wait_leaves_nothing(quic: streams.Quic) -> None:
    """Cancelling a wait for the end forgets it, and the connection lives."""
    waiting = asyncio.ensure_future(quic.client.wait_closed())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert not quic.client._changes._waiters
    assert quic.client.is_connected


async def test_silence_ends_a_connection() -> None:
    """After the idle timeout without a word the connection is over, by name."""
    brief = QuicSettings(idle_timeout=0.3, keepalive=100)
    async with streams.connected(brief) as quic:
        quic.client.liveness._keepalive.cancel()
        quic.server.liveness._keepalive.cancel()
        failure = await quic.server.wait_closed()
    assert isinstance(failure, ConnectionClosedError)
    assert failure.code_name == "idle timeout"


async def test_an_abandoned_connection_says_no_more(quic: streams.Quic) -> None:
    """Once given up, a connection sends nothing, whatever its streams still do."""
    near, _far = await quic.streams()
    quic.client.abandon(NoAnswerError("peer", 1))
    sent = quic.client_endpoint.counters["datagrams_sent"]
    await near.aclose()
    quic.client.close()
    await asyncio.sleep(0)
    assert quic.client_endpoint.counters["datagrams_sent"] == sent
    assert quic.client._timer is None


async def test_a_port_found_closed_while_sending_ends_the_timer_too() -> None:
    """A session that is abandoned by its own sending does not go on to retransmit."""
    with streams.dialling() as client:
        dialled: list[Session] = []
        client.register = lambda _id, session: dialled.append(session)
        client.send_all = lambda *_: dialled[0].abandon(PortClosedError("peer"))
        session = streams.dial(client, ("127.0.0.1", 9))
    assert isinstance(session.failure, PortClosedError)
    assert session._timer is None


async def test_waiters_before_the_handshake_get_its_failure() -> None:
    """Whoever waits for a connection that cannot be made gets the reason."""
    with bind_udp("127.0.0.1", 0) as sock, streams.dialling() as client:
        session = streams.dial(client, sock.getsockname())
        waiting = asyncio.gather(session.wait_connected(), session.wait_confirmed(), return_exceptions=True)
        await asyncio.sleep(0)
        session.abandon(NoAnswerError("peer", 1))
        for failure in await waiting:
            assert isinstance(failure, NoAnswerError)


async def test_a_timer_that_fires_too_early_is_set_anew() -> None:
    """A timer is not moved when its time has become a later one; when it fires, it waits for the rest."""
    async with streams.connected() as quic:
        session = quic.client
        await quic.exchange()
        session._set_timer()
        assert session._timer is not None
        first = session._timer
        later = session._loop.time() + 5
        session._quic.get_timer = lambda: later
        session._set_timer()
        assert session._timer is first
        handled: list[float] = []
        session._quic.handle_timer = lambda now: handled.append(now)
        first.cancel()
        session._handle_timer()
        assert not handled
        assert session._timer.when() == later
        session._quic.get_timer = lambda: later - 1
        session._set_timer()
        assert session._timer.when() == later - 1
        session._due = session._loop.time()
        session._timer.cancel()
        session._handle_timer()
        assert len(handled) == 1


async def test_what_goes_at_once_and_what_waits_for_company(
    quic: streams.Quic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes after a quiet time leave at once, those that follow closely leave together when the callbacks are done."""
    near, _far = await quic.streams()
    await quic.exchange()
    sent = []
    monkeypatch.setattr(quic.client._endpoint, "send_all", lambda datagrams: sent.append(len(datagrams)))
    monkeypatch.setattr(session_module, "COMPANY", 60.0)
    quic.client._flushed_early_at = 0.0 - session_module.COMPANY
    near.put(b"first", at_once=True)
    assert sent == [1]
    near.put(b"second", at_once=True)
    near.put(b"third")
    assert sent == [1]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sent == [1, 1]
