"""TLS-52: who offers a ticket is resumed with a good one only, and what is sent as early data never runs twice."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aioquic.tls import Epoch, HandshakeType, SessionTicket

import tndrl
from rogue import messages
from rogue.peer import Peer, RogueClient
from rogue.script import Flight
from support import certs, nodes, streams
from support.link import Direction, Link, UdpLink
from tndrl.control.state import NodeState
from tndrl.transport.tickets import TICKETS_PER_HANDSHAKE
from tndrl.v1 import control_pb2

WHO = "/test.Witness/WhoAmI"
WHO_AM_I = (
    bytes([nodes.WITNESS_TYPE])
    + streams.request("WhoAmI", service="test.Witness")
    + streams.message(end=True)
)
SHUTDOWN = (
    bytes([tndrl.StreamType.CONTROL])
    + streams.request("Shutdown", service="tndrl.v1.ControlService")
    + streams.message(control_pb2.ShutdownRequest(reason="a replay").SerializeToString(), end=True)
)
HANDSHAKE_FAILURE, CERTIFICATE_REQUIRED = 0x128, 0x174


class Stage:
    """A node, a witness of what reaches its services, and a client that was there before and has tickets."""

    def __init__(self, node: tndrl.Node, witness: nodes.Witness, tickets: list[SessionTicket]) -> None:
        self.node = node
        self.witness = witness
        self.tickets = tickets
        self.honest = streams.honest("rogue")

    def client(self, **changes: object) -> RogueClient:
        """Return a client that offers a ticket, unless told otherwise, and sends a call with its first packets."""
        defaults = {"ticket": self.tickets[0], "stream": WHO_AM_I}
        return RogueClient(self.node.address, dataclasses.replace(self.honest, **(defaults | changes)))

    def counted(self, name: str) -> int:
        """Return a counter of the node."""
        return self.node.stats().get(name, 0)


@pytest.fixture
async def stage(short_dir: Path) -> AsyncIterator[Stage]:
    """Yield a node and a client's tickets."""
    witness, tickets = nodes.Witness(), list[SessionTicket]()
    admins = [streams.node_id("rogue")]
    async with (
        asyncio.timeout(30),
        nodes.running(short_dir, witness=witness, idempotent=[WHO], control__admins=admins) as node,
    ):
        made = Stage(node, witness, tickets)
        async with RogueClient(
            node.address, dataclasses.replace(made.honest, on_ticket=tickets.append)
        ) as peer:
            await peer.until(lambda: len(tickets) == TICKETS_PER_HANDSHAKE)
        yield made
    vars(made).clear()


async def answered(rogue: Peer) -> None:
    """Wait until the call on the first stream has an answer."""
    await rogue.until(lambda: b"spiffe://tndrl/node/rogue" in rogue.received[0])


async def test_a_good_ticket_is_resumed(stage: Stage) -> None:
    """The control: without a certificate from either side the client is known, and its early data answered."""
    async with stage.client(chain=()) as rogue:
        assert await rogue.outcome() is None
        await answered(rogue)
        assert rogue.connection.peer_chain == []
    assert stage.witness.calls == 1
    told = stage.node.metadata()  # what GetStatus says
    names = ("tickets_issued", "tickets_offered", "tickets_accepted", "early_data_accepted", "calls_held")
    assert [told[name] for name in names] == ["4", "1", "1", "1", "0"]


async def test_a_ticket_is_good_once(stage: Stage) -> None:
    """Who offers it again needs a certificate; the early data of before is not read a second time as such."""
    async with stage.client() as rogue:
        await answered(rogue)
    async with stage.client(chain=()) as rogue:
        assert (await rogue.closed()).code == CERTIFICATE_REQUIRED
    assert stage.witness.calls == 1
    async with stage.client() as rogue:
        assert await rogue.outcome() is None
        assert len(rogue.connection.peer_chain) == 1
        await answered(rogue)  # sent again after the handshake, as RFC 9001 section 4.6.2 says
    assert stage.counted("tickets_accepted") == 1
    assert stage.counted("tickets_replayed") == 2


def renamed(ticket: SessionTicket) -> SessionTicket:
    return dataclasses.replace(ticket, ticket=os.urandom(64))


def emptied(ticket: SessionTicket) -> SessionTicket:
    return dataclasses.replace(ticket, ticket=b"")


def lengthened(ticket: SessionTicket) -> SessionTicket:
    return dataclasses.replace(ticket, ticket=ticket.ticket * 10)


@pytest.mark.parametrize("change", [renamed, emptied, lengthened])
async def test_a_ticket_that_the_node_did_not_issue(
    stage: Stage, change: Callable[[SessionTicket], SessionTicket]
) -> None:
    """It is a full handshake: with a certificate the call is answered after it, without one there is none."""
    ticket = change(stage.tickets[0])
    async with stage.client(ticket=ticket, chain=()) as rogue:
        assert (await rogue.closed()).code == CERTIFICATE_REQUIRED
    assert stage.witness.calls == 0
    async with stage.client(ticket=ticket) as rogue:
        assert await rogue.outcome() is None
        await answered(rogue)
    assert stage.counted("tickets_accepted") == 0


async def test_whoever_saw_a_ticket_cannot_use_it(stage: Stage) -> None:
    """The name of a ticket crosses the network in clear; who does not know its secret is refused."""
    stolen = dataclasses.replace(stage.tickets[0], resumption_secret=bytes(48))
    async with stage.client(ticket=stolen, chain=()) as rogue:
        assert (await rogue.closed()).code == HANDSHAKE_FAILURE
    assert stage.counted("tickets_accepted") == 0
    assert stage.witness.calls == 0


async def test_a_ticket_does_not_change_who_asks(stage: Stage) -> None:
    """A ticket that is refused leaves the identity to the certificate that follows."""
    made = certs.node_leaf("somebody")
    ticket = renamed(stage.tickets[0])
    async with stage.client(ticket=ticket, chain=made.chain_der, key=made.key) as rogue:
        await rogue.until(lambda: b"spiffe://tndrl/node/somebody" in rogue.received[0])


# Early data that is held


class Withheld:
    """Keeps a client's Finished back, without which the server does not know whether its hello is a replay."""

    def __init__(self) -> None:
        self.finished = b""

    def arrange(self, flight: Flight) -> Flight:
        """Take Finished out of a flight."""
        for _, message in flight:
            if message[0] == HandshakeType.FINISHED:
                self.finished = message
        return messages.without(HandshakeType.FINISHED)(flight)

    def release(self, rogue: Peer) -> None:
        """Send it after all."""
        rogue.connection.send_tls(self.finished, Epoch.HANDSHAKE)
        rogue.pump()


async def test_shutdown_in_early_data_waits_for_the_handshake(stage: Stage) -> None:
    """Whatever a client sends early, the node does not obey before the client has proved itself, and then does."""
    withheld = Withheld()
    async with stage.client(stream=SHUTDOWN, arrange=withheld.arrange, chain=()) as rogue:
        await rogue.until(lambda: bool(withheld.finished) and stage.counted("calls_held") == 1)
        assert stage.node.state is NodeState.READY
        assert stage.counted("control_calls_total") == 0
        assert b"\x08\x01" not in rogue.received[0]  # accepted=true
        withheld.release(rogue)
        assert await stage.node.wait_stopped()
    assert stage.node.state is NodeState.STOPPED


async def test_shutdown_of_a_handshake_that_never_ends(stage: Stage) -> None:
    """A client that goes away without having proved itself has asked for nothing."""
    withheld = Withheld()
    async with stage.client(stream=SHUTDOWN, arrange=withheld.arrange, chain=()) as rogue:
        await rogue.until(lambda: bool(withheld.finished) and stage.counted("calls_held") == 1)
    await streams.until(lambda: stage.counted("streams_open") == 0, lambda: asyncio.sleep(0.01))
    assert stage.node.state is NodeState.READY
    assert stage.counted("control_calls_total") == 0


async def test_an_idempotent_call_does_not_wait(stage: Stage) -> None:
    """What may run twice is answered in the first round trip."""
    withheld = Withheld()
    async with stage.client(arrange=withheld.arrange, chain=()) as rogue:
        await answered(rogue)
        assert stage.counted("handshakes_completed") == 1  # the one that brought the tickets
    assert stage.counted("calls_held") == 0


# Replays of recorded datagrams


@asynccontextmanager
async def recording(node: tndrl.Node) -> AsyncIterator[tuple[UdpLink, list[bytes]]]:
    """Yield a link with some delay, and what clients send through it."""
    recorded: list[bytes] = []
    async with UdpLink(node.address, Link(1, delay=0.05)) as link:
        carry = link.link.send

        def record(data: bytes, direction: Direction, now: float) -> list[object]:
            if direction is Direction.TO_NODE:
                recorded.append(data)
            return carry(data, direction, now)

        link.link.send = record
        yield link, recorded


async def test_recorded_early_data_runs_once(stage: Stage, short_dir: Path) -> None:
    """The same datagrams again, at once and when their connection is long over, from the same place or another."""
    async with recording(stage.node) as (link, recorded):
        named = nodes.config(
            short_dir / "b",
            certs.node_leaf("b"),
            peers=[{"name": "far", "addr": link.address, "identity": streams.node_id("a")}],
        )
        async with tndrl.connect("far", config=named) as peer:
            await nodes.who_am_i(peer)
        recorded.clear()
        async with tndrl.connect("far", config=named) as peer:
            call = peer.channel(nodes.WITNESS_TYPE, idempotent=[WHO]).unary_unary(WHO)
            await call(b"", timeout=5)
            early = list(recorded)
            assert stage.counted("early_data_accepted") == 1
            calls = stage.witness.calls
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
                replay(elsewhere, early, stage.node.address)
                await peer.confirmed()
                await call(b"", timeout=5)
            assert stage.witness.calls == calls + 1
        await streams.until(lambda: not stage.node._listener._endpoint.sessions, lambda: asyncio.sleep(0.01))
        for _ in range(3):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
                replay(elsewhere, early, stage.node.address)
                await streams.until(
                    lambda: stage.counted("tickets_replayed") == 1, lambda: asyncio.sleep(0.01)
                )
        async with tndrl.connect("far", config=named) as peer:
            await nodes.ping(nodes.control(peer))
    assert stage.witness.calls == calls + 1


def replay(sock: socket.socket, datagrams: list[bytes], address: str) -> None:
    """Send recorded datagrams to a node."""
    host, _, port = address.rpartition(":")
    for data in datagrams:
        sock.sendto(data, (host, int(port)))
