"""When packets are acknowledged: with company, every second one, and in time (RFC 9000 section 13.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from inspect import signature

import pytest
from aioquic import tls
from aioquic.quic.congestion.base import K_GRANULARITY
from aioquic.quic.connection import QuicConnection

from support import streams
from support.carried import leave_none_out
from tndrl.transport._aioquic.ack_delay import ACK_DELAY, DelayedAcks
from tndrl.transport.quic_stream import QuicStream

PROMISED = 0.025
"""Seconds: the max_ack_delay that aioquic announces."""


@pytest.fixture
async def ends() -> AsyncIterator[tuple[streams.Quic, QuicStream, QuicStream]]:
    """Yield a connection on which nothing is left to be acknowledged, and both ends of a stream."""
    async with asyncio.timeout(20), streams.connected() as quic:
        near, far = await quic.streams()
        await streams.until(lambda: quic.client._quic.path_mtu.size > 1200, quic.exchange)
        await quic.exchange()
        await settled(quic)
        for session in (quic.client, quic.server):
            leave_none_out(session._quic)
        yield quic, near, far


async def settled(quic: streams.Quic) -> None:
    """Wait until both sides have acknowledged all."""
    spaces = [session._quic._spaces[tls.Epoch.ONE_RTT] for session in (quic.client, quic.server)]
    await streams.until(
        lambda: all(space.ack_at is None and not space.ack_eliciting_in_flight for space in spaces),
        lambda: asyncio.sleep(0.005),
    )


async def turns() -> None:
    """Let the loop go round, as it does while a service works."""
    for _ in range(10):
        await asyncio.sleep(0)


def sent(quic: streams.Quic) -> list[int]:
    """Return how many datagrams each side has sent."""
    return [end.counters["datagrams_sent"] for end in (quic.client_endpoint, quic.server_endpoint)]


async def test_calls_cost_one_datagram_each_way(ends: tuple[streams.Quic, QuicStream, QuicStream]) -> None:
    """A request that is answered soon is acknowledged by the answer, and the answer by the next request."""
    quic, near, far = ends
    before = sent(quic)
    calls = 20
    for _ in range(calls):
        await near.send(b"?")
        assert await far.receive() == b"?"
        await turns()  # in which everything that is due leaves
        await far.send(b"!")
        assert await near.receive() == b"!"
        await turns()
    assert all(calls <= now - old <= calls + 5 for now, old in zip(sent(quic), before, strict=True))


async def test_a_single_packet_is_acknowledged_in_time(
    ends: tuple[streams.Quic, QuicStream, QuicStream],
) -> None:
    """What nothing follows is acknowledged alone, before the delay that we promised is over."""
    quic, near, far = ends
    before = sent(quic)
    start = asyncio.get_running_loop().time()
    await near.send(b"x")
    await far.receive()
    assert quic.server._quic._spaces[tls.Epoch.ONE_RTT].ack_at is not None
    await settled(quic)
    assert asyncio.get_running_loop().time() - start >= ACK_DELAY / 2
    assert sent(quic) == [before[0] + 1, before[1] + 1]


async def test_two_packets_are_acknowledged_at_once(
    ends: tuple[streams.Quic, QuicStream, QuicStream],
) -> None:
    """The second packet in a row waits for nothing."""
    quic, near, _far = ends
    server = quic.server._quic
    for _ in range(2):
        near._quic.send_stream_data(near.stream_id, b"x")
        quic.client.flush()
    await streams.until(lambda: server._to_acknowledge == 0 and acked(quic))


def acked(quic: streams.Quic) -> bool:
    """Return whether the client knows that all has arrived."""
    return not quic.client._quic._spaces[tls.Epoch.ONE_RTT].ack_eliciting_in_flight


async def test_a_ping_is_answered_at_once(ends: tuple[streams.Quic, QuicStream, QuicStream]) -> None:
    """Whoever sends a PING waits for its acknowledgement."""
    quic, _near, _far = ends
    space = quic.server._quic._spaces[tls.Epoch.ONE_RTT]
    delays: list[float] = []
    write = quic.server._quic._ack_frame
    quic.server._quic._ack_frame = lambda space, now: (
        delays.append(now - space.largest_received_time),
        write(space, now),
    )[1]
    await quic.client.ping()
    assert delays
    assert delays[0] < ACK_DELAY / 2
    assert space.ack_at is None


async def test_a_gap_is_told_at_once_and_once(ends: tuple[streams.Quic, QuicStream, QuicStream]) -> None:
    """A packet that leaves one out, or comes late, is acknowledged at once: the sender must hear of it. No other is."""
    quic, near, _far = ends
    client, server = quic.client._quic, quic.server._quic
    now, path = asyncio.get_running_loop().time(), server._network_paths[0].addr

    def sent_with(data: bytes, now: float) -> bytes:
        client.send_stream_data(near.stream_id, data)
        ((datagram, _addr),) = client.datagrams_to_send(now=now)
        return datagram

    late, opens_a_gap, in_order = (sent_with(data, now + n) for n, data in enumerate((b"x", b"y", b"z")))
    acks = []
    for datagram in (opens_a_gap, in_order, late):
        server.receive_datagram(datagram, path, now=now)
        acks.append(len(server.datagrams_to_send(now=now)))
        server.datagrams_to_send(now=now + ACK_DELAY)  # nothing is left to be acknowledged
    assert acks == [1, 0, 1]


def test_the_delay_is_less_than_promised() -> None:
    """Timers are late; the peer counts on what we announced."""
    assert ACK_DELAY < PROMISED


# What aioquic must still have

METHODS = {
    "datagrams_to_send": ["self", "now"],
    "send_stream_data": ["self", "stream_id", "data", "end_stream"],
    "send_ping": ["self", "uid"],
    "_handle_ping_frame": ["self", "context", "frame_type", "buf"],
    "_payload_received": ["self", "context", "plain", "crypto_frame_required"],
    "_write_ack_frame": ["self", "builder", "space", "now"],
}


@pytest.mark.parametrize("name", METHODS)
def test_aioquic_has_the_method(name: str) -> None:
    """A method that is overridden exists with the same arguments."""
    assert list(signature(getattr(QuicConnection, name)).parameters) == METHODS[name]
    assert name in vars(DelayedAcks)


async def test_aioquic_has_the_state() -> None:
    """Its own delay is a millisecond, and what it promises is 25."""
    async with streams.connected() as quic:
        connection = quic.client._quic
        assert connection._ack_delay == ACK_DELAY
        assert QuicConnection(configuration=connection.configuration)._ack_delay == K_GRANULARITY
        assert quic.server._quic._loss.max_ack_delay == PROMISED
        assert connection._spaces[tls.Epoch.ONE_RTT].is_application_data
