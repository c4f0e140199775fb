"""What strangers send to a node's port: replayed, forged, half-hearted and senseless (QUIC-02 to 04, 06 to 08, 22)."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

import tndrl
from rogue.connection import RogueConnection
from rogue.peer import RogueClient
from support import nodes, processes, streams, victim
from tndrl.config import LimitsConfig
from tndrl.errors import NoAnswerError
from tndrl.transport.codes import TransportCode
from tndrl.transport.endpoint import Endpoint
from tndrl.transport.quic_settings import QuicSettings
from wire.stages import Stage, check_no_fault

Address = tuple[str, int]
RETRY = 0xF0


class Stranger:
    """A socket on an address of its own, which counts what it sends and gets."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind((host, 0))
        self.sent = self.got = 0

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram."""
        self.sock.sendto(data, address)
        self.sent += len(data)

    def waiting(self) -> list[bytes]:
        """Return what has come."""
        found = []
        while True:
            try:
                found.append(self.sock.recv(65535))
            except BlockingIOError:
                return found
            self.got += len(found[-1])
            assert self.got <= 3 * self.sent, "more than three times what was sent"

    async def answer(self) -> bytes:
        """Wait for one datagram."""
        async with asyncio.timeout(streams.PATIENCE):
            data = await asyncio.get_running_loop().sock_recv(self.sock, 65535)
        self.got += len(data)
        assert self.got <= 3 * self.sent, "more than three times what was sent"
        return data


@contextmanager
def strangers(count: int, host: str | None = None) -> Iterator[list[Stranger]]:
    """Yield strangers, each on another address unless ``host`` is given."""
    made = [Stranger(host or f"127.0.{1 + number // 250}.{1 + number % 250}") for number in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.sock.close()


def first_packet(address: Address, name: str = "b") -> tuple[RogueConnection, bytes]:
    """Return a client and the first datagram it sends."""
    client = RogueConnection(streams.honest(name))
    client.connect(address, 0.0)
    return client, next_packet(client)


def next_packet(client: RogueConnection) -> bytes:
    """Return the next datagram of a client."""
    ((data, _address),) = client.datagrams_to_send(0.0)
    return data


def limited(**limits: int) -> QuicSettings:
    """Return settings with these limits."""
    return QuicSettings(limits=LimitsConfig(**limits))


async def settled(endpoint: Endpoint, count: int) -> None:
    """Wait until so many datagrams were received and answered."""
    received = endpoint.counters
    await streams.until(lambda: received["datagrams_received"] >= count and not endpoint._turns._queues)


# QUIC-02: replayed packets


async def test_replayed_packets_are_answered_by_retry_only() -> None:
    """Above the threshold valid first packets, from whatever addresses, leave nothing behind and draw a Retry each."""
    async with streams.accepting(limited(retry_above=4)) as server:
        address = server.endpoint.address
        recorded = [first_packet(address)[1] for _ in range(40)]
        with strangers(80) as everybody:
            for stranger, data in zip(everybody, recorded * 2, strict=True):
                stranger.send(data, address)
            await settled(server.endpoint, 80)
            assert len(server.endpoint.sessions) == server.endpoint.half_open == 4
            for stranger in everybody[4:40]:
                assert (await stranger.answer())[0] & 0xF0 == RETRY
            for stranger in everybody[40:44]:  # the handshakes that are under way do not move there
                assert stranger.waiting() == []
            assert server.endpoint.counters["retries_sent"] == 72


# QUIC-03: tokens


async def with_token(stranger: Stranger, address: Address) -> tuple[RogueConnection, bytes]:
    """Return a client that was given a token, and the datagram in which it comes back with it."""
    client, data = first_packet(address)
    stranger.send(data, address)
    client.receive_datagram(await stranger.answer(), address, 0.1)
    return client, next_packet(client)


async def refused(client: RogueConnection, stranger: Stranger, data: bytes, address: Address) -> int:
    """Send a datagram and return the code with which the node refuses it."""
    stranger.send(data, address)
    client.receive_datagram(await stranger.answer(), address, 0.2)
    assert client.closed is not None
    return client.closed.code


async def test_a_token_of_another_address_is_refused() -> None:
    """INVALID_TOKEN, and nothing is kept: neither from another host nor from another port."""
    async with streams.accepting(limited(retry_above=0)) as server:
        address = server.endpoint.address
        for host in ("127.0.0.1", "127.0.0.2"):
            with strangers(1, "127.0.0.1") as (honest,), strangers(1, host) as (thief,):
                client, data = await with_token(honest, address)
                assert await refused(client, thief, data, address) == TransportCode.INVALID_TOKEN
        assert not server.endpoint.sessions


async def test_a_forged_token_is_refused() -> None:
    """Bytes of one's own are no token."""
    async with streams.accepting(limited(retry_above=0)) as server:
        address = server.endpoint.address
        with strangers(1) as (stranger,):
            client = RogueConnection(streams.honest("b"))
            client.token = os.urandom(80)
            client.connect(address, 0.0)
            code = await refused(client, stranger, next_packet(client), address)
            assert code == TransportCode.INVALID_TOKEN
        assert not server.endpoint.sessions


async def test_a_replayed_token_is_refused() -> None:
    """Once its handshake is over, the packet that began it begins no other."""
    async with streams.accepting(limited(retry_above=0)) as server:
        address = server.endpoint.address
        with strangers(1) as (stranger,):
            client, data = await with_token(stranger, address)
            stranger.send(data, address)
            await streams.until(lambda: server.endpoint.sessions)
            (session,) = server.endpoint.sessions
            await stranger.answer()
            session.abandon(NoAnswerError("gone", 0))
            stranger.waiting()
            assert await refused(client, stranger, data, address) == TransportCode.INVALID_TOKEN
        assert not server.endpoint.sessions


# QUIC-04: amplification. Each stranger checks its own account.


@pytest.mark.parametrize("tail", [b"", bytes(300), b"\x40junk" * 40], ids=["alone", "padded", "with junk"])
@pytest.mark.parametrize("copies", [1, 2])
async def test_a_silent_client_draws_three_times_what_it_sent(tail: bytes, copies: int) -> None:
    """Neither retransmission nor the close at the end goes beyond it, at any moment."""
    settings = QuicSettings(handshake_timeout=1.5)
    async with streams.accepting(settings) as server:
        address = server.endpoint.address
        with strangers(1) as (stranger,):
            _client, data = first_packet(address)
            for _ in range(copies):
                stranger.send(data + tail, address)
            while server.closed.empty():
                await asyncio.sleep(0.02)
                stranger.waiting()
            stranger.waiting()
            assert stranger.got > 1200


async def test_answers_are_smaller_than_what_they_answer() -> None:
    """Version Negotiation, Retry, a refusal and a stateless reset are each smaller than their question."""
    async with streams.accepting(limited(retry_above=0)) as server:
        address = server.endpoint.address
        questions = {
            "version": b"\xc0\x1a\x2a\x3a\x4a\x14" + bytes(20) + b"\x14" + bytes(1174),
            "retry": first_packet(address)[1],
            "reset": b"\x40nobody's" + bytes(30),
        }
        for question in questions.values():
            with strangers(1) as (stranger,):
                stranger.send(question, address)
                assert len(await stranger.answer()) < len(question)
                assert stranger.waiting() == []


# QUIC-06: half-open handshakes


@pytest.mark.parametrize("scale", [10, pytest.param(1, marks=pytest.mark.long)])
async def test_half_open_handshakes_end(scale: int) -> None:
    """At most so many are under way, above the threshold with a token only; without progress they end."""
    defaults = LimitsConfig()
    limits = {"half_open": defaults.half_open // scale, "retry_above": defaults.retry_above // scale}
    settings = QuicSettings(handshake_timeout=15 / scale, limits=LimitsConfig(**limits))
    async with streams.accepting(settings) as server:
        address, endpoint = server.endpoint.address, server.endpoint
        with strangers(limits["half_open"] + 20) as everybody:
            for stranger in everybody:
                client, data = first_packet(address)
                stranger.send(data, address)
                answer = await stranger.answer()
                if answer[0] & 0xF0 == RETRY:
                    client.receive_datagram(answer, address, 0.1)
                    stranger.send(next_packet(client), address)
                    await stranger.answer()
                assert endpoint.half_open <= limits["half_open"]
            assert endpoint.counters["retries_sent"] == len(everybody) - limits["retry_above"]
            assert endpoint.half_open == limits["half_open"]
            async with asyncio.timeout(2 * settings.handshake_timeout):
                while endpoint.half_open:
                    await server.closed.get()


@pytest.mark.serial
async def test_half_open_handshakes_harm_nobody_else(short_dir: Path) -> None:
    """As many as there may be, each silent after its first packet, are over within 5 s, beside a victim."""
    limits = LimitsConfig()
    async with (
        processes.serving(short_dir / "a") as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        host, port = node.address.rsplit(":", 1)
        address = (host, int(port))
        # Made before: to make them takes this process as long as the node takes to answer.
        clients = [first_packet(address) for _ in range(limits.half_open + 20)]
        async with victim.unharmed(node.address, short_dir / "victim"):
            await stay_half_open(clients, address, peer)


async def stay_half_open(
    clients: list[tuple[RogueConnection, bytes]], address: Address, peer: tndrl.Peer
) -> None:
    """Let clients say no more than gets them a handshake, and wait until the node has given all of them up."""
    limits = LimitsConfig()
    with strangers(len(clients)) as everybody:
        for stranger, (client, data) in zip(everybody, clients, strict=True):
            stranger.send(data, address)
            answer = await stranger.answer()
            if answer[0] & 0xF0 == RETRY:
                client.receive_datagram(answer, address, 0.1)
                stranger.send(next_packet(client), address)
        last = time.monotonic()
        about = (await nodes.status(peer)).metadata
        assert limits.half_open // 2 < int(about["handshakes_open"]) <= limits.half_open
        while int((await nodes.status(peer)).metadata["handshakes_open"]):
            assert time.monotonic() - last < 7
            await asyncio.sleep(0.2)


# QUIC-07: forged answers


async def test_a_forged_retry_is_ignored() -> None:
    """A Retry whose integrity tag is wrong changes nothing; the handshake goes on (RFC 9001 section 5.8)."""
    async with streams.accepting() as server:
        with streams.dialling() as client:
            session = streams.dial(client, server.endpoint.address)
            own = session._quic.host_cid
            forged = b"\xf0\0\0\0\x01" + bytes([len(own)]) + own + b"\x08forged!!" + b"token" + bytes(16)
            client._receive(forged, server.endpoint.address)
            await session.wait_confirmed()


# QUIC-08: senseless bytes


def junk(dice: random.Random, count: int) -> Iterator[bytes]:
    """Yield datagrams that mean nothing: every first byte, every size, headers that end early, odd IDs."""
    sizes = [0, 1, 2, 5, 6, 7, 20, 21, 43, 1199, 1200, 1500, 9000, 65507]
    for number in range(count):
        data = dice.randbytes(sizes[number % len(sizes)])
        yield bytes([number % 256]) + data[1:] if data else b""
    for version in (b"\0\0\0\0", b"\0\0\0\x01", b"\x6b\x33\x43\xcf", b"\x1a\x2a\x3a\x4a"):
        for first in (0x80, 0xC0, 0xD0, 0xE0, 0xF0):
            for length in (0, 1, 8, 20, 21, 255):
                head = bytes([first]) + version + bytes([length]) + dice.randbytes(length)
                whole = head + bytes([length]) + dice.randbytes(length) + dice.randbytes(1200)
                yield from (head[:6], head, whole[: len(head) + 1], whole)


@pytest.mark.parametrize("count", [512, pytest.param(20_000, marks=pytest.mark.long)])
async def test_junk_disturbs_nobody(stage: Stage, count: int) -> None:
    """Whatever is thrown at the port is dropped or answered by a stranger's answer; the victim notices nothing."""
    host, port = stage.node.address.rsplit(":", 1)
    with strangers(1, "127.0.0.9") as (stranger,):
        for number, data in enumerate(junk(random.Random(8), count)):
            stranger.send(data, (host, int(port)))
            if number % 16 == 0:
                await asyncio.sleep(0)
                stranger.waiting()
        await nodes.ping(stage.victim)
    check_no_fault(stage.caplog)
    async with RogueClient(stage.node.address, streams.honest("late")) as late:
        assert await late.outcome() is None


async def test_junk_behind_valid_packets_is_dropped(stage: Stage) -> None:
    """What follows a packet in its datagram is dropped if it is none, and the handshake goes on."""
    dice = random.Random(8)
    async with RogueClient(stage.node.address, streams.honest("late")) as late:
        send = late._transport.sendto

        def with_junk(data: bytes, address: object) -> None:
            send(data + dice.randbytes(40) if data[0] & 0x80 else data, address)

        late._transport.sendto = with_junk
        assert await late.outcome() is None
    check_no_fault(stage.caplog)
    await nodes.ping(stage.victim)


# QUIC-22: a flood of connections


async def test_a_flood_of_one_identity(stage: Stage) -> None:
    """Of twelve connections of one identity eight stay; the others are refused; the victim notices nothing."""
    async with AsyncExitStack() as stack:
        for _ in range(12):
            client = RogueClient(stage.node.address, streams.honest("flood"))
            await (await stack.enter_async_context(client)).outcome()
        await streams.until(
            lambda: stage.node.stats().get("connections_refused") == 4, lambda: asyncio.sleep(0.01)
        )
        assert stage.node.stats()["connections_open"] == 8 + 1
        await nodes.ping(stage.victim)


@pytest.mark.serial
async def test_a_flood_of_one_identity_harms_nobody_else(short_dir: Path) -> None:
    """A hundred connections of one identity, one after another beside eight that stay, are refused beside a victim."""
    async with (
        processes.serving(short_dir / "a") as node,
        victim.unharmed(node.address, short_dir / "victim"),
        AsyncExitStack() as stack,
    ):
        for _ in range(8):
            client = RogueClient(node.address, streams.honest("flood"))
            assert await (await stack.enter_async_context(client)).outcome() is None
        for _ in range(100):
            async with RogueClient(node.address, streams.honest("flood")) as late:
                assert (await late.closed()).code == TransportCode.CONNECTION_REFUSED


@pytest.mark.parametrize("most", [5, pytest.param(1024, marks=[pytest.mark.long, pytest.mark.timeout(300)])])
async def test_many_identities(short_dir: Path, most: int) -> None:
    """A node that is full refuses whoever comes, and serves those that are there."""
    async with (
        streams.listening(short_dir, settings=limited(connections=most)) as (listener, _echo),
        AsyncExitStack() as stack,
    ):
        peers = [
            await stack.enter_async_context(streams.RawClient(listener.address, f"n{number}"))
            for number in range(most)
        ]
        for number in range(5):
            async with RogueClient(listener.address, streams.honest(f"late{number}")) as late:
                assert (await late.closed()).code == TransportCode.CONNECTION_REFUSED
        for peer in peers:
            await streams.echoes(peer, 0)
