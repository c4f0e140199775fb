"""Resumption and 0-RTT between two of our own: what is resumed, what is not, and that nothing is lost or read twice."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from inspect import signature
from types import SimpleNamespace
from typing import Any

import pytest
from aioquic import tls
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType

from pki.alerts import Alert
from pki.spiffe import IdPattern, SpiffeId
from support import streams, tickets
from support.link import Link, UdpLink
from tndrl.config import LimitsConfig
from tndrl.transport._aioquic.resumption import ResumingConnection, ResumingContext
from tndrl.transport._aioquic.tls import VerifyingContext
from tndrl.transport.endpoint import Endpoint
from tndrl.transport.identity import ClientPolicy
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.quic_stream import QuicStream
from tndrl.transport.session import Session
from tndrl.transport.tickets import MAX_AGE_ERROR, TICKETS_PER_HANDSHAKE, IssuedTickets, Ticket

B = SpiffeId.parse(streams.node_id("b"))
NO_EARLY_DATA = QuicSettings(early_data=False)


class Pair:
    """A server, a client, and the tickets on both sides."""

    def __init__(self, server: streams.Server, client: Endpoint, issued: IssuedTickets) -> None:
        self.server = server
        self.client = client
        self.issued = issued
        self.received: list[Ticket] = []

    def dial(self, ticket: Ticket | None = None, *, address: Any = None) -> Session:
        """Begin a handshake, with a ticket if there is one, by way of ``address`` if there is one."""
        where = address or self.server.endpoint.address
        return streams.dial(self.client, where, ticket=ticket, on_ticket=self.received.append)

    async def first(self) -> Ticket:
        """Connect without a ticket, and return one that came."""
        session = self.dial()
        await session.wait_confirmed()
        await self.server.confirmed.get()
        await streams.until(lambda: len(self.received) == TICKETS_PER_HANDSHAKE, session.ping)
        return self.received.pop()

    async def call(self, session: Session, data: bytes = b"hello") -> QuicStream:
        """Send on a new stream, see it come back, and return the server's end."""
        near = session.open_stream()
        await near.send(data)
        await near.send_eof()
        async with asyncio.timeout(streams.PATIENCE):
            far = await self.server.accepted.get()
            assert await far.receive() == data
            assert await far.receive() == b""
            await far.send(data[::-1])
            await far.send_eof()
            assert await near.receive() == data[::-1]
        await near.aclose()
        await far.aclose()
        return far

    async def full(self, ticket: Ticket) -> None:
        """Offer a ticket and see that it is not taken: a whole handshake follows, and what was sent arrives, once."""
        session = self.dial(ticket)
        far = await self.call(session)
        await session.wait_confirmed()
        assert (far.session.peer_id, far.session.is_confirmed) == (B, True)
        assert not far.session._quic.tls.session_resumed
        assert far.session._quic.tls._peer_certificate is not None
        assert self.server.accepted.empty()
        assert "tickets_accepted" not in self.issued.counters


@asynccontextmanager
async def paired(
    settings: QuicSettings | None = None, client_settings: QuicSettings | None = None, **options: Any
) -> AsyncIterator[Pair]:
    """Yield a server with tickets and a client."""
    issued = IssuedTickets(100)
    async with asyncio.timeout(20), streams.accepting(settings, tickets=issued, **options) as server:
        with streams.dialling(client_settings or settings) as client:
            yield Pair(server, client, issued)


@asynccontextmanager
async def slow(server: streams.Server) -> AsyncIterator[tuple[str, int]]:
    """Yield the address of a slow link to a server."""
    host, port = server.endpoint.address[:2]
    async with UdpLink(f"{host}:{port}", Link(1, delay=0.1)) as link:
        near, _, number = link.address.partition(":")
        yield near, int(number)


# What is resumed


async def test_early_data_is_answered_before_the_handshake_ends() -> None:
    """The server knows who it is by the ticket, and its answer needs no certificate and no further round trip."""
    async with paired() as pair, slow(pair.server) as address:
        session = pair.dial(await pair.first(), address=address)
        assert session.is_early
        assert session.peer_id == SpiffeId.parse(streams.node_id("a"))
        near = session.open_stream()
        await near.send(b"hello")
        far = await pair.server.accepted.get()
        assert await far.receive() == b"hello"
        assert (far.session.peer_id, far.session.is_confirmed) == (B, False)
        await session.wait_confirmed()
        assert not session.is_early
        await far.session.wait_confirmed()
        assert far.session.peer_id == B
        for stream in (near, far):
            await stream.aclose()
        assert pair.issued.counters["early_data_accepted"] == pair.client.counters["early_data_accepted"] == 1


async def test_a_handshake_gives_some_tickets_each_good_once() -> None:
    """Each ticket of a handshake resumes by itself, and the resumed connections give new ones."""
    async with paired() as pair:
        given = [await pair.first(), *pair.received]
        assert len({one.session.ticket for one in given}) == TICKETS_PER_HANDSHAKE
        pair.received.clear()
        for ticket in given:
            session = pair.dial(ticket)
            await pair.call(session)
            await session.wait_confirmed()
        await streams.until(lambda: len(pair.received) == len(given) * TICKETS_PER_HANDSHAKE, session.ping)
        assert pair.issued.counters["tickets_accepted"] == len(given)


async def test_a_chain_of_resumptions_is_as_old_as_its_proof() -> None:
    """A ticket of a resumed connection carries on when, and with which certificates, the peer was verified."""
    async with paired() as pair:
        first = await pair.first()
        issued = pair.issued._issued[first.session.ticket]
        pair.received.clear()
        session = pair.dial(first)
        await pair.call(session)
        await streams.until(lambda: bool(pair.received), session.ping)
        second = pair.received[0]
        again = pair.issued._issued[second.session.ticket]
        for before, after in ((first, second), (issued, again)):
            assert (after.chain, after.identity, after.verified_at) == (
                before.chain,
                before.identity,
                before.verified_at,
            )
            assert after.session.ticket != before.session.ticket


@pytest.mark.parametrize(
    ("server", "client"), [(NO_EARLY_DATA, None), (None, NO_EARLY_DATA)], ids=["server", "client"]
)
async def test_without_early_data_a_connection_is_resumed_all_the_same(
    server: QuicSettings | None, client: QuicSettings | None
) -> None:
    """Either side may do without early data: then the handshake is complete before anything is sent."""
    async with paired(server or QuicSettings(), client or QuicSettings()) as pair:
        session = pair.dial(await pair.first())
        assert not session.is_early
        await session.wait_connected()
        await pair.call(session)
        assert session._quic.tls.session_resumed
        assert "early_data_accepted" not in +pair.issued.counters


# What is not


async def test_a_server_that_takes_no_early_data_any_more() -> None:
    """A client that offers it all the same is met with a full handshake, and what it sent arrives after it."""
    async with paired() as pair:
        ticket = await pair.first()
        endpoint = pair.server.endpoint
        endpoint._resumption = dataclasses.replace(endpoint._resumption, early_data=False)
        await pair.full(ticket)


async def test_the_same_ticket_again_is_a_full_handshake() -> None:
    """A second use of a ticket resumes nothing, and what was sent with it as early data is not read as such."""
    async with paired() as pair:
        ticket = await pair.first()
        await pair.call(pair.dial(ticket))
        assert pair.issued.counters.pop("tickets_accepted") == 1
        await pair.full(ticket)
        assert pair.issued.counters["tickets_replayed"] == 1


async def test_a_ticket_of_another_node_is_a_full_handshake() -> None:
    """A ticket that this node has not issued is refused: of another, of a made up one, of before a restart."""
    async with paired() as pair:
        ticket = await pair.first()
        pair.issued._issued.clear()
        await pair.full(ticket)
        assert pair.issued.counters["tickets_refused"] == 1


@pytest.mark.parametrize("changed", ["rules", "revoked", "expired", "identity", "age"])
async def test_what_changed_since_is_a_full_handshake(changed: str) -> None:
    """The rules of now decide: whom they do not let in is not resumed, nor is a ticket that is over or held back.

    The rules let the same certificate pass when it is shown again, so that the second handshake can be seen.
    """
    policy = ClientPolicy(streams.credentials("a").bundle)
    asked: list[tuple[SpiffeId, int]] = []

    def once(identity: SpiffeId, serial: int) -> bool:
        asked.append((identity, serial))
        return len(asked) == 1

    current = [policy]
    async with paired(verify=lambda chain: current[0].verify(chain)) as pair:
        ticket = await pair.first()
        label = ticket.session.ticket
        old = pair.issued._issued[label]
        late = dataclasses.replace(old.session, age_add=old.session.age_add + int(2000 * MAX_AGE_ERROR))
        changes = {
            "expired": {"session": tickets.made(age=10, lifetime=9).session},
            "identity": {"chain": tickets.chain_of("c")},
            "age": {"session": late},
        }
        pair.issued._issued[label] = dataclasses.replace(old, **changes.get(changed, {}))
        if changed == "revoked":
            current[0] = dataclasses.replace(policy, is_revoked=once)
        elif changed == "rules":
            others = ClientPolicy(policy.bundle, (IdPattern.parse(streams.node_id("other")),))
            monday_and_tuesday = iter([others, policy])
            current[0] = SimpleNamespace(verify=lambda chain: next(monday_and_tuesday).verify(chain))
        await pair.full(ticket)
        assert pair.issued.counters["tickets_refused"] == 1
    serial = streams.credentials("b").chain[0].serial_number
    assert asked == ([(B, serial)] * 2 if changed == "revoked" else [])


async def test_a_ticket_that_is_found_and_not_used_lets_nobody_in() -> None:
    """A client that offers somebody's ticket with other ciphers, as anybody who saw its hello can, must prove itself.

    aioquic looks the ticket up, and only then compares ciphers.
    """
    async with paired() as pair:
        ticket = await pair.first()
        label, suite = ticket.session.ticket, tls.CipherSuite.CHACHA20_POLY1305_SHA256
        old = pair.issued._issued[label]
        pair.issued._issued[label] = dataclasses.replace(
            old,
            session=dataclasses.replace(old.session, cipher_suite=suite),
            identity=SpiffeId.parse(streams.node_id("c")),
            chain=tickets.chain_of("c"),
        )
        await pair.full(ticket)


async def test_a_server_without_tickets_issues_none() -> None:
    """Where no tickets are kept there are none, and an offered one is ignored."""
    async with streams.accepting() as server:
        with streams.dialling() as client:
            received: list[Ticket] = []
            session = streams.dial(
                client, server.endpoint.address, ticket=tickets.made("a"), on_ticket=received.append
            )
            await session.wait_confirmed()
            await session.ping()
            assert received == []


# Early data that is not taken


async def test_early_data_that_is_refused_is_sent_again_once() -> None:
    """Everything that was sent before the refusal arrives, in order and once, within the limits of now."""
    async with paired() as pair:
        ticket = await pair.first()
        pair.issued._issued.clear()
        session = pair.dial(ticket)
        sent = [bytes([index]) * 3000 for index in range(4)]
        near = [session.open_stream() for _ in sent]
        for stream, data in zip(near, sent, strict=True):
            await stream.send(data)
            await stream.send_eof()
        session.flush()
        arrived = []
        for _ in sent:
            far = await pair.server.accepted.get()
            received = b""
            while data := await far.receive():
                received += data
            arrived.append(received)
            await far.send_eof()
            await far.aclose()
        assert arrived == sent
        assert pair.server.accepted.empty()
        for stream in near:
            assert await stream.receive() == b""
            await stream.aclose()
        await session.ping()
        assert session._quic._loss.bytes_in_flight < 2000


async def test_a_server_that_allows_less_than_it_did() -> None:
    """After a refusal the client keeps to the limits of now, not to those that came with the ticket."""
    async with paired() as pair:
        ticket = await pair.first()
        small = QuicSettings(limits=LimitsConfig(streams=2, stream_window=2048))
        async with streams.accepting(small) as other:
            session = streams.dial(pair.client, other.endpoint.address, ticket=ticket)
            near = [session.open_stream() for _ in range(3)]
            for stream in near:
                await stream.send(bytes(5000))
            for _ in range(2):
                far, received = await other.accepted.get(), 0
                while received < 5000:
                    received += len(await far.receive())
                await far.send_eof()
                far.abort(0)
                await far.aclose()
            far = await other.accepted.get()
            await far.aclose()
            for stream in near:
                await stream.aclose()
            assert session.failure is None


async def test_a_server_must_not_take_what_was_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Early data that is accepted unasked is an extension unasked (RFC 8446 section 4.2)."""
    async with paired() as pair:
        ticket = await pair.first()
        monkeypatch.setattr(VerifyingContext, "sends_early_data", False)
        failure = await pair.dial(ticket).wait_closed()
        assert "unsupported_extension" in str(failure)
        assert Alert.unsupported_extension == 110


# What aioquic must still have

CONTEXT_METHODS = {
    "_server_handle_hello": ["self", "input_buf", "initial_buf", "handshake_buf"],
    "_server_handle_finished": ["self", "input_buf", "output_buf"],
    "_client_handle_hello": ["self", "input_buf", "output_buf"],
    "_client_handle_encrypted_extensions": ["self", "input_buf"],
}
CONNECTION_METHODS = {
    "_initialize": ["self", "peer_cid"],
    "_handle_crypto_frame": ["self", "context", "frame_type", "buf"],
}
"""Methods that are overridden -> their arguments."""


def test_aioquic_has_the_methods() -> None:
    """A method that is overridden exists in the base class with the same arguments."""
    for base, ours, methods in (
        (tls.Context, ResumingContext, CONTEXT_METHODS),
        (QuicConnection, ResumingConnection, CONNECTION_METHODS),
    ):
        for name, arguments in methods.items():
            assert list(signature(getattr(base, name)).parameters) == arguments
            assert getattr(ours, name) is not getattr(base, name)


@pytest.mark.parametrize("is_client", [True, False])
def test_aioquic_has_the_state_of_a_context(is_client: bool) -> None:
    """What is read or set on a context is there, with the meaning it had."""
    context = tls.Context(is_client=is_client, max_early_data=7)
    assert "_request_client_certificate" in vars(context)
    assert (context._session_resumed, context.early_data_accepted) == (False, False)
    assert (context.session_ticket, context._new_session_ticket, context._max_early_data) == (None, None, 7)
    assert context.new_session_ticket_cb is None
    assert list(signature(context._build_session_ticket).parameters) == [
        "new_session_ticket",
        "other_extensions",
    ]
    assert isinstance(context.handshake_extensions, list)


async def test_aioquic_has_the_state_of_a_connection() -> None:
    """What is read or set on a connection is there, with the meaning it had."""
    async with streams.connected() as quic:
        connection = quic.client._quic
        assert connection._handshake_complete
        space = connection._spaces[tls.Epoch.ONE_RTT]
        assert isinstance(space.sent_packets, dict)
        assert isinstance(space.ack_eliciting_in_flight, int)
        assert connection._loss._cc.bytes_in_flight == connection._loss.bytes_in_flight
        assert connection._streams_blocked_bidi == []
        assert connection._remote_max_streams_bidi == 1000
        assert connection._remote_max_stream_data_bidi_remote > 0
        assert QuicPacketType.ZERO_RTT
        fields = {field.name for field in dataclasses.fields(tls.NewSessionTicket)}
        assert fields >= {
            "ticket_lifetime",
            "ticket_age_add",
            "ticket_nonce",
            "ticket",
            "max_early_data_size",
        }
