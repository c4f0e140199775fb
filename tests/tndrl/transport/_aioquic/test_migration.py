"""A connection that moves to another address of ours, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from inspect import signature

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.recovery import QuicPacketRecovery

from support import streams
from support.link import Link, UdpLink
from tndrl.transport.udp import client_udp


def test_aioquic_still_has_what_this_derives_from() -> None:
    """The private names that are used or replaced are there, with the arguments that they had."""
    assert {"builder", "space"} < set(signature(QuicConnection._write_connection_limits).parameters)
    assert {"builder", "network_path"} < set(signature(QuicConnection._write_path_challenge_frame).parameters)
    assert {"delivery", "network_path"} < set(
        signature(QuicConnection._on_path_challenge_delivery).parameters
    )
    assert {"congestion_event", "now", "packets", "space"} < set(
        signature(QuicPacketRecovery._on_packets_lost).parameters
    )


async def test_a_client_moves_in_the_middle_of_a_stream() -> None:
    """After a move both sides use new IDs, the server has validated the address and nothing of the stream is lost."""
    async with streams.connected() as quic, asyncio.timeout(10):
        await quic.exchange()
        near, far = await quic.streams()
        ids = quic.client._quic._peer_cid.cid, quic.server._quic._peer_cid.cid
        before = quic.server.address
        await near.send(b"one")
        quic.client_endpoint.rebind(client_udp(socket.AF_INET))
        await near.send(b"two")
        await near.send_eof()
        got = b""
        while data := await far.receive():
            got += data
        assert got == b"onetwo"
        await quic.exchange()
        assert quic.server.address[1] == quic.client_endpoint.address[1] != before[1]
        assert quic.server._quic._network_paths[0].is_validated
        assert quic.client._quic.is_heard
        assert not {quic.client._quic._peer_cid.cid, quic.server._quic._peer_cid.cid} & set(ids)
        for stream in (near, far):
            await stream.aclose()


async def test_who_never_moved_is_heard() -> None:
    """Without a move there is nothing to validate."""
    async with streams.connected() as quic:
        assert quic.client._quic.is_heard


async def test_a_lost_challenge_is_sent_again() -> None:
    """The peer is asked again, until it has answered from the new address."""
    async with (
        streams.accepting() as server,
        UdpLink(f"127.0.0.1:{server.endpoint.address[1]}", Link(1)) as link,
    ):
        with streams.dialling() as client:
            host, port = link.address.split(":")
            session = streams.dial(client, (host, int(port)))
            await session.wait_confirmed()
            await session.ping()
            link.black_out(0.3)
            client.rebind(client_udp(socket.AF_INET))
            assert not session._quic.is_heard
            await streams.until(lambda: session._quic.is_heard, session.ping)


async def test_what_was_on_its_way_is_sent_again_at_once() -> None:
    """A move does not wait for timeouts of what was sent before, nor for the doubling of them."""
    async with streams.connected() as quic:
        await quic.exchange()
        client, now = quic.client._quic, asyncio.get_running_loop().time()
        client.send_ping(7)
        client.datagrams_to_send(now=now)  # and lost
        client._loss._pto_count = 5
        assert client.is_unanswered
        assert not client._ping_pending
        client.migrate(now, new_host=False)
        assert client._ping_pending == [7]
        assert not client.is_unanswered


@pytest.mark.parametrize("new_host", [False, True])
async def test_another_host_is_measured_anew(new_host: bool) -> None:
    """From another port the path is taken for the same, from another host for an unknown one (RFC 9000 section 9.4)."""
    async with streams.connected() as quic:
        await quic.exchange()
        recovery = quic.client._quic._loss
        recovery._cc.congestion_window = 1_000_000
        quic.client.migrate(new_host=new_host)
        assert recovery._rtt_initialized is not new_host
        assert (recovery.congestion_window < 1_000_000) is new_host
        await quic.exchange()
