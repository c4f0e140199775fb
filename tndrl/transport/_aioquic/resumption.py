"""Resumption and 0-RTT for connections on which both sides have certificates (RFC 8446 sections 2.2 and 2.3).

aioquic would wait for the certificate of a client that resumes, which sends none; takes early data with every ticket,
whatever its age; and loses what was sent as early data when the server answers with Retry or does not take it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicReceiveContext
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryState, QuicSentPacket
from aioquic.quic.recovery import QuicPacketSpace

from pki.alerts import Alert
from pki.spiffe import SpiffeId
from tndrl.transport.identity import VerifyPeer
from tndrl.transport.tickets import TICKETS_PER_HANDSHAKE, IssuedTickets, Ticket


@dataclass(frozen=True)
class Resumption:
    """What a connection may resume, and where the tickets go that it is given or gives out."""

    offer: Ticket | None = None
    """A client's ticket; its certificates have been verified again just now."""
    keep: Callable[[Ticket], None] | None = None
    """Takes each ticket that a client receives."""
    issued: IssuedTickets | None = None
    """A server's tickets."""
    early_data: bool = True
    """Whether a client sends early data, and a server takes it."""
    counters: Counter[str] = field(default_factory=Counter)


NO_RESUMPTION = Resumption()


def alert(description: Alert, reason: str) -> tls.Alert:
    """Return the exception that makes aioquic close the connection with this alert and reason."""
    error = tls.Alert(reason)
    error.description = tls.AlertDescription(description)
    return error


class ResumingContext(tls.Context):
    """aioquic's TLS state machine, resuming for peers only whose certificates it has verified and still would."""

    verify_peer: VerifyPeer
    resumption: Resumption
    peer_id: SpiffeId | None
    peer_chain: tuple[bytes, ...]
    verified_at: float
    is_early_data_lost: bool

    def begin_resumption(self, resumption: Resumption) -> None:
        """Set what a context that aioquic has just built lacks."""
        self.resumption = resumption
        self.peer_id = None
        self.peer_chain = ()
        self.verified_at = 0.0
        self.is_early_data_lost = False
        self._offered: Ticket | None = resumption.offer if self._is_client else None
        self._hello: Buffer | None = None
        if not resumption.early_data:
            self._max_early_data = None

    @property
    def _request_client_certificate(self) -> bool:  # type: ignore[override] # an attribute of the base class
        # aioquic decides late whether it resumes: a ticket that it has looked up may still not be used, and then the
        # certificate is asked for.
        return not self._is_client and not self._session_resumed

    # The server's side

    def fetch_ticket(self, label: bytes) -> tls.SessionTicket | None:
        """Return the session that a client wants to resume; None makes it a full handshake (TLS-52)."""
        issued = self.resumption.issued
        ticket = issued.take(label) if issued is not None else None
        if ticket is None or issued is None:
            return None
        assert self._hello is not None
        hello = tls.pull_client_hello(self._hello)
        if not (
            ticket.is_trusted(self.verify_peer) and (not hello.early_data or self._takes_early(ticket, hello))
        ):
            issued.counters["tickets_refused"] += 1
            return None
        self._offered = ticket
        return ticket.session

    def _takes_early(self, ticket: Ticket, hello: tls.ClientHello) -> bool:
        assert hello.pre_shared_key is not None
        (_label, age), *_others = hello.pre_shared_key.identities
        return self.resumption.early_data and ticket.has_age(age)

    def _server_handle_hello(self, input_buf: Buffer, initial_buf: Buffer, handshake_buf: Buffer) -> None:
        self._hello = copied(input_buf)
        super()._server_handle_hello(input_buf, initial_buf, handshake_buf)
        self._hello = None
        self._note_resumption()
        if (issued := self.resumption.issued) is not None and self._session_resumed:
            issued.counters["tickets_accepted"] += 1
            issued.counters["early_data_accepted"] += self.early_data_accepted

    def _server_handle_finished(self, input_buf: Buffer, output_buf: Buffer) -> None:
        super()._server_handle_finished(input_buf, output_buf)
        if self.new_session_ticket_cb is None or self._new_session_ticket is None:
            return
        for number in range(1, TICKETS_PER_HANDSHAKE):
            # RFC 8446 section 4.6.1: the nonce is unique among the tickets of a connection; aioquic's own is empty.
            message = tls.NewSessionTicket(
                ticket_lifetime=self._new_session_ticket.ticket_lifetime,
                ticket_age_add=int.from_bytes(os.urandom(4), "big"),
                ticket_nonce=bytes([number]),
                ticket=os.urandom(len(self._new_session_ticket.ticket)),
                max_early_data_size=self._max_early_data,
            )
            tls.push_new_session_ticket(output_buf, message)
            self.new_session_ticket_cb(self._build_session_ticket(message, self.handshake_extensions))

    # The client's side

    def _client_handle_hello(self, input_buf: Buffer, output_buf: Buffer) -> None:
        super()._client_handle_hello(input_buf, output_buf)
        self._note_resumption()

    def _client_handle_encrypted_extensions(self, input_buf: Buffer) -> None:
        super()._client_handle_encrypted_extensions(input_buf)
        if self.early_data_accepted and not (self._session_resumed and self.sends_early_data):
            raise alert(Alert.unsupported_extension, "early data is accepted that was not offered")
        self.is_early_data_lost = self.sends_early_data and not self.early_data_accepted
        self.resumption.counters["tickets_accepted"] += self._session_resumed
        self.resumption.counters["early_data_accepted"] += self.early_data_accepted

    @property
    def sends_early_data(self) -> bool:
        """Whether a client's hello offered early data."""
        return self.session_ticket is not None and self.session_ticket.max_early_data_size is not None

    # Both

    def _note_resumption(self) -> None:
        if self._session_resumed:
            assert self._offered is not None
            self.peer_id, self.peer_chain = self._offered.identity, self._offered.chain
            self.verified_at = self._offered.verified_at

    def keep_ticket(self, session: tls.SessionTicket) -> None:
        """Take a ticket that was issued or received on this connection."""
        assert self.peer_id is not None
        ticket = Ticket(session, self.peer_chain, self.peer_id, self.verified_at)
        if self.resumption.issued is not None:
            self.resumption.issued.issue(ticket)
        elif self.resumption.keep is not None:
            self.resumption.keep(ticket)


class ResumingConnection(QuicConnection):
    """Offers and takes tickets, and sends again what was lost of early data."""

    def __init__(self, *, configuration: QuicConfiguration, resumption: Resumption, **options: Any) -> None:
        super().__init__(
            configuration=configuration,
            session_ticket_fetcher=self._fetch_ticket if resumption.issued is not None else None,
            session_ticket_handler=self._keep_ticket if resumption != NO_RESUMPTION else None,
            **options,
        )
        self._resumption = resumption

    @staticmethod
    def offer(configuration: QuicConfiguration, resumption: Resumption) -> None:
        """Put the ticket of ``resumption``, if it has one, into a client's configuration."""
        if (ticket := resumption.offer) is None:
            return
        resumption.counters["tickets_offered"] += 1
        if resumption.early_data:
            resumption.counters["early_data_offered"] += ticket.allows_early_data
            configuration.session_ticket = ticket.session
        else:
            configuration.session_ticket = replace(ticket.session, max_early_data_size=None)

    @property
    def is_early(self) -> bool:
        """Whether what a client sends now goes out as early data, or would: its handshake is not complete."""
        context = getattr(self, "tls", None)
        return (
            self._is_client
            and not self._handshake_complete
            and isinstance(context, ResumingContext)
            and context.sends_early_data
        )

    @property
    def takes_early_data(self) -> bool:
        """Whether a server reads a client's early data."""
        context = getattr(self, "tls", None)
        return not self._is_client and isinstance(context, tls.Context) and context.early_data_accepted

    def _fetch_ticket(self, label: bytes) -> tls.SessionTicket | None:
        assert isinstance(self.tls, ResumingContext)
        return self.tls.fetch_ticket(label)

    def _keep_ticket(self, session: tls.SessionTicket) -> None:
        assert isinstance(self.tls, ResumingContext)
        self.tls.keep_ticket(session)

    def _initialize(self, peer_cid: bytes) -> None:
        spaces = self._spaces
        super()._initialize(peer_cid)
        # After Retry and Version Negotiation a client begins anew, and so does what it has sent (RFC 9000 17.2.5.3).
        for epoch, space in spaces.items():
            self._lose(list(space.sent_packets.values()), again=epoch is tls.Epoch.ONE_RTT)

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_crypto_frame(context, frame_type, buf)
        assert isinstance(self.tls, ResumingContext)
        if self.tls.is_early_data_lost:
            self.tls.is_early_data_lost = False
            self._resend_early_data(self._spaces[tls.Epoch.ONE_RTT])

    def _resend_early_data(self, space: QuicPacketSpace) -> None:
        """Send what the server did not take again, within the limits that it has now (RFC 9001 section 4.6.2)."""
        for stream in self._streams.values():
            stream.max_stream_data_remote = self._remote_max_stream_data_bidi_remote
            if (stream.stream_id or 0) // 4 >= self._remote_max_streams_bidi and not stream.is_blocked:
                stream.is_blocked = True
                self._streams_blocked_bidi.append(stream)
        packets = [
            packet for packet in space.sent_packets.values() if packet.packet_type is QuicPacketType.ZERO_RTT
        ]
        for packet in packets:
            del space.sent_packets[packet.packet_number]
            space.ack_eliciting_in_flight -= packet.is_ack_eliciting
        self._lose(packets, again=True)

    def _lose(self, packets: list[QuicSentPacket], *, again: bool) -> None:
        # Nothing is known of the path: no sign of congestion (RFC 9002 section 6.2.3).
        self._loss._cc.on_packets_expired(packets=[packet for packet in packets if packet.in_flight])
        for packet in packets if again else ():
            for handler, arguments in packet.delivery_handlers:
                handler(QuicDeliveryState.LOST, *arguments)


def copied(buffer: Buffer) -> Buffer:
    """Return a buffer with the same content, read from its begin."""
    return Buffer(data=buffer.data_slice(0, buffer.capacity))
