"""What a verified client may not do with the HTTP/2 inside a stream (H2-01, H2-02)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from rogue.peer import Peer
from support import nodes, streams
from support.streams import RawClient, frame
from tndrl.transport.codes import ErrorCode
from tndrl.transport.http2 import PREFACE, SETTINGS
from wire.stages import check_no_fault

TYPE = bytes([nodes.WITNESS_TYPE])
ACK = frame(4, 1, 0, b"")
AT_ONCE = 0.5
"""Seconds: far below each deadline, and more than a busy machine takes."""


def call(end: bool = True) -> bytes:
    """Return a client's side of one call of the witness."""
    opening = streams.request("WhoAmI", service="test.Witness")
    return TYPE + opening + ACK + (streams.message(end=True) if end else b"")


async def answered(peer: Peer, stream_id: int) -> None:
    """Check that a call on a new stream is answered."""
    peer.send(stream_id, call())
    await peer.until(lambda: b"grpc-status" in peer.received[stream_id])
    assert b"spiffe://tndrl/node/raw" in peer.received[stream_id]


@pytest.fixture
async def peer(short_dir: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Peer]:
    """Yield a client of a node with a witness; afterwards another stream of it works, and nothing was an error."""
    caplog.set_level(logging.INFO)
    async with (
        nodes.running(short_dir, witness=nodes.Witness(), transport__requestTimeout=1.0) as node,
        RawClient(node.address) as peer,
    ):
        yield peer
        await answered(peer, 400)
        check_no_fault(caplog)


OTHER_PROTOCOLS = {
    "garbage": bytes(range(256)),
    "zeros": bytes(5000),
    "tls": bytes.fromhex("16030100f5010000f10303") + bytes(240),
    "http1": b"GET / HTTP/1.1\r\nHost: tndrl\r\n\r\n",
    "no-preface": SETTINGS + streams.headers({":method": "POST"}),
    "broken-preface": PREFACE[:-1] + b"\r",
}


@pytest.mark.parametrize("name", OTHER_PROTOCOLS)
async def test_another_protocol_is_refused_at_once(peer: Peer, name: str) -> None:
    """Bytes that are no HTTP/2 cost their stream, by a code of its own, and nothing else."""
    async with asyncio.timeout(AT_ONCE):
        peer.send(0, TYPE + OTHER_PROTOCOLS[name])
        await peer.until(lambda: peer.ended == {0: ErrorCode.PREFACE_INVALID})
    assert not peer.received[0]


@pytest.mark.parametrize("size", [0, 1, 23])
async def test_half_a_preface_is_refused_at_its_end(peer: Peer, size: int) -> None:
    """A stream that ends within its preface is refused at once too."""
    async with asyncio.timeout(AT_ONCE):
        peer.send(0, TYPE + PREFACE[:size], end=True)
        await peer.until(lambda: peer.ended == {0: ErrorCode.PREFACE_INVALID})


SILENCES = {
    "no-preface": TYPE,
    "half-preface": TYPE + PREFACE[:12],
    "no-settings": TYPE + PREFACE,
    "no-call": TYPE + PREFACE + SETTINGS + ACK,
    "no-acknowledgement": call().replace(ACK, b""),
    "half-headers": call(end=False) + frame(1, 0, 3, b"\0\x01a\x01b"),
    "half-frame": TYPE + PREFACE + SETTINGS + ACK + frame(1, 4, 1, bytes(100))[:5],
}


@pytest.mark.serial
@pytest.mark.parametrize("name", SILENCES)
async def test_silence_has_a_deadline(peer: Peer, name: str) -> None:
    """Whoever stops before its first call is under way is cut off after transport.requestTimeout, not much later."""
    began = asyncio.get_running_loop().time()
    peer.send(0, SILENCES[name])
    await peer.until(lambda: 0 in peer.ended)
    assert peer.ended == {0: ErrorCode.REQUEST_TIMEOUT}
    assert 0.9 < asyncio.get_running_loop().time() - began < 1 + AT_ONCE


@pytest.mark.serial
async def test_a_trickle_has_the_same_deadline(peer: Peer) -> None:
    """QUIC-18: a byte now and then puts the deadline off by nothing."""
    began = asyncio.get_running_loop().time()

    async def trickle() -> None:
        for byte in TYPE + PREFACE + SETTINGS:
            peer.send(0, bytes([byte]))
            await asyncio.sleep(0.05)  # so it takes 1.7 s

    sending = asyncio.ensure_future(trickle())
    await peer.until(lambda: 0 in peer.ended)
    sending.cancel()
    assert peer.ended == {0: ErrorCode.REQUEST_TIMEOUT}
    assert 0.9 < asyncio.get_running_loop().time() - began < 1 + AT_ONCE


async def test_a_channel_that_waits_for_its_first_call(short_dir: Path) -> None:
    """A channel that was connected long before its first call connects again, and its call succeeds."""
    async with (
        nodes.running(short_dir / "a", transport__requestTimeout=0.2) as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        channel = peer.channel(0x01)
        await channel.channel_ready()
        await streams.until(
            lambda: node.stats().get("streams_reset.request_timeout", 0) == 1, lambda: asyncio.sleep(0.01)
        )
        await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        await nodes.ping(nodes.control_on(channel))
