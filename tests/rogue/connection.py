"""A QUIC connection that follows a script: all that tests need of the private names of aioquic's QUIC."""

from __future__ import annotations

from dataclasses import dataclass

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionState, QuicReceiveContext
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch

from rogue.context import RogueContext
from rogue.messages import ROOM
from rogue.script import Script

SMALLEST = 1200
"""Bytes of a datagram that every path carries."""

OVERHEAD = 128
"""More than header and tag of any packet take."""

PACKET_TYPES = {
    Epoch.INITIAL: QuicPacketType.INITIAL,
    Epoch.HANDSHAKE: QuicPacketType.HANDSHAKE,
    Epoch.ONE_RTT: QuicPacketType.ONE_RTT,
}


@dataclass(frozen=True)
class Closed:
    """A CONNECTION_CLOSE frame that came from the other side."""

    code: int
    frame_type: int | None
    """The frame that was at fault; None in an application's close (RFC 9000 section 19.19)."""
    reason: str

    @property
    def alert(self) -> int | None:
        """The TLS alert it carries (RFC 9001 section 4.8), if it does."""
        is_crypto = self.frame_type is not None and 0x100 <= self.code <= 0x1FF
        return self.code - 0x100 if is_crypto else None


class RogueConnection(QuicConnection):
    """A stock connection whose TLS side is a rogue's."""

    def __init__(self, script: Script, destination: bytes | None = None) -> None:
        super().__init__(
            configuration=QuicConfiguration(
                is_client=destination is None,
                verify_mode=0,
                server_name="localhost",
                certificate=PRESENT,
                private_key=PRESENT,
                session_ticket=script.ticket,
                original_version=script.version,
            ),
            original_destination_connection_id=destination,
            session_ticket_handler=script.on_ticket,
            session_ticket_fetcher=script.resume,
        )
        self.script = script
        self.is_confirmed = False

    @property
    def closed(self) -> Closed | None:
        """How the other side closed; None if it has not. Known before the draining period is over."""
        event = self._close_event
        if event is None or self._state is not QuicConnectionState.DRAINING:
            return None
        return Closed(event.error_code, event.frame_type, event.reason_phrase)

    @property
    def fault(self) -> str | None:
        """Why this side closed; None if it has not."""
        event = self._close_event
        if event is None or self._state is QuicConnectionState.DRAINING:
            return None
        return f"{event.error_code:#x} {event.reason_phrase}"

    @property
    def token(self) -> bytes:
        """What a client's Initial packets carry as their token."""
        return self._peer_token

    @token.setter
    def token(self, token: bytes) -> None:
        self._peer_token = token

    @property
    def is_complete(self) -> bool:
        """Whether this side's handshake is complete: it has the other's Finished."""
        return self._handshake_complete

    @property
    def peer_chain(self) -> list[bytes]:
        """What the other side presented, in DER."""
        context = self.tls
        parts = [context._peer_certificate, *context._peer_certificate_chain]
        return [part.public_bytes(tls.Encoding.DER) for part in parts if part is not None]

    def send_tls(self, data: bytes, epoch: Epoch = Epoch.ONE_RTT) -> None:
        """Send bytes in CRYPTO frames as they are."""
        self._crypto_streams[epoch].sender.write(data)

    @property
    def next_number(self) -> int:
        """The number of the next packet, at whatever level."""
        return self._packet_number

    @property
    def largest_received(self) -> int:
        """The largest number of a 1-RTT packet that came."""
        return self._spaces[Epoch.ONE_RTT].largest_received_packet

    def packet(self, payload: bytes, epoch: Epoch = Epoch.ONE_RTT) -> bytes:
        """Return a packet with valid protection around whatever shall pass for frames; it is never sent again."""
        builder = QuicPacketBuilder(
            host_cid=self.host_cid,
            is_client=self._is_client,
            max_datagram_size=max(SMALLEST, len(payload) + OVERHEAD),
            packet_number=self._packet_number,
            peer_cid=self._peer_cid.cid,
            peer_token=self._peer_token,
            version=self._version,
        )
        builder.start_packet(PACKET_TYPES[epoch], self._cryptos[epoch])
        builder._buffer.push_bytes(payload)
        (datagram,), _ = builder.flush()
        self._packet_number = builder.packet_number
        return datagram

    def update_keys(self) -> None:
        """Protect the next packet with the next keys, whether or not the other side has acknowledged the last ones."""
        self._cryptos[Epoch.ONE_RTT].update_key()

    def has_keys(self, epoch: Epoch) -> bool:
        """Whether packets of this level can be sent now."""
        return epoch in self._cryptos and self._cryptos[epoch].send.is_valid()

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, object]]:
        """Return what to send; nothing while the script tells a client to wait for the whole flight."""
        waits = self._is_client and self.script.whole_flight
        waiting = waits and not (
            self._handshake_complete or self.tls.state is tls.State.CLIENT_EXPECT_SERVER_HELLO
        )
        return [] if waiting else super().datagrams_to_send(now)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        RogueContext.adopt(self.tls, self.script)
        self._crypto_buffers = {epoch: Buffer(capacity=ROOM) for epoch in self._crypto_buffers}

    def _handle_reset_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        if self.script.deaf:
            skip(buf, 3)
        else:
            super()._handle_reset_stream_frame(context, frame_type, buf)

    def _handle_stop_sending_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        if self.script.deaf:
            skip(buf, 2)
        else:
            super()._handle_stop_sending_frame(context, frame_type, buf)

    def _confirm_handshake(self) -> None:
        super()._confirm_handshake()
        self.is_confirmed = True


def skip(buf: Buffer, fields: int) -> None:
    """Read over numbers of a frame."""
    for _ in range(fields):
        buf.pull_uint_var()


PRESENT = object()
"""aioquic wants a server to have a certificate and a key; what goes out is the script's."""
