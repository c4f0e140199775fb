"""Datagrams as large as the path carries: probes, and what their fate says (RFC 9000 section 14)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.congestion.reno import RenoCongestionControl
from aioquic.quic.connection import QuicConnection, QuicConnectionState, QuicNetworkPath
from aioquic.quic.packet import QuicFrameType, QuicPacketType, pull_quic_transport_parameters
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder, QuicSentPacket

from tndrl.transport.mtu import BASE, PathMtu

RoutePayload = Callable[[Any], int | None]
"""Takes a peer's address; returns the bytes of payload that the first link to it carries, None if that is unknown."""


class ProbedReno(RenoCongestionControl):
    """aioquic's New Reno, which takes no lost probe for congestion and tells ``path_mtu`` what became of packets.

    The window grows by what filled it only (RFC 9002 section 7.8): calls that never fill it would open it without end,
    and the first large answer would leave all at once.
    """

    def __init__(self, path_mtu: PathMtu) -> None:
        super().__init__(max_datagram_size=BASE)
        self.path_mtu = path_mtu
        self.probes: set[int] = set()  # numbers of the packets that are probes
        self._filled = -1  # number of the last packet that left at least half of the window in flight

    @property
    def max_datagram_size(self) -> int:
        """Bytes of a datagram, of which windows are multiples."""
        return self._max_datagram_size

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        """Take an acknowledged packet."""
        if packet.packet_number <= self._filled:
            super().on_packet_acked(now=now, packet=packet)
        else:
            self.bytes_in_flight -= packet.sent_bytes
        if packet.packet_number in self.probes:
            self.probes.discard(packet.packet_number)
        elif packet.epoch is tls.Epoch.ONE_RTT:
            self.path_mtu.acked(packet.packet_number, packet.sent_bytes)

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:
        """Take a packet that was sent."""
        super().on_packet_sent(packet=packet)
        if 2 * self.bytes_in_flight >= self.congestion_window:
            self._filled = packet.packet_number

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:
        """Take packets that congestion may have cost."""
        if data := self._without_probes(packets):
            super().on_packets_lost(now=now, packets=data)
            self._tell(data)

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        """Take packets whose data is sent again because nothing came back in time, or which are of no use any more."""
        data = self._without_probes(packets)
        super().on_packets_expired(packets=data)
        self._tell(data)

    def resize(self, size: int) -> None:
        """Count in datagrams of ``size`` bytes from now on; the window stays what it is (RFC 8899 section 3)."""
        self._max_datagram_size = size

    def _without_probes(self, packets: Iterable[QuicSentPacket]) -> list[QuicSentPacket]:
        packets = list(packets)
        probes = [packet for packet in packets if packet.packet_number in self.probes]
        super().on_packets_expired(packets=probes)
        self.probes.difference_update(packet.packet_number for packet in probes)
        return [packet for packet in packets if packet not in probes] if probes else packets

    def _tell(self, packets: list[QuicSentPacket]) -> None:
        self.path_mtu.lost(
            (packet.packet_number, packet.sent_bytes)
            for packet in packets
            if packet.epoch is tls.Epoch.ONE_RTT
        )


class PathMtuDiscovery(QuicConnection):
    """A connection whose datagrams begin with 1,200 bytes and grow to what path, peer and ``max_datagram`` allow."""

    def __init__(self, *, max_datagram: int, route_payload: RoutePayload, **options: Any) -> None:
        super().__init__(**options)
        self._max_datagram = max_datagram  # of both sides, once the peer has said
        self._route_payload = route_payload
        self._searched: QuicNetworkPath | None = None  # the path that ``_path_mtu`` is about
        self._path_mtu = PathMtu(BASE)
        self._congestion = self._loss._cc = ProbedReno(self._path_mtu)

    @property
    def path_mtu(self) -> PathMtu:
        """What is known of the path."""
        return self._path_mtu

    def search_anew(self) -> None:
        """Forget what is known of the path: ours has changed, and the peer cannot tell."""
        self._searched = None

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        """Return what is to be sent, with a probe if one is due."""
        self._follow_path()
        # After a timeout small packets tell a black hole, which they pass, from an outage.
        self._max_datagram_size = BASE if self._loss._pto_count else self._path_mtu.size
        datagrams = super().datagrams_to_send(now)
        if self._searched is not None and self._state is QuicConnectionState.CONNECTED:
            size = self._path_mtu.next_probe(now)
            if size is not None:
                datagrams += self._probe(self._searched, size, now)
        return datagrams

    def _follow_path(self) -> None:
        path = self._network_paths[0]
        if path is not self._searched:
            known = self._handshake_confirmed and path.is_validated
            self._searched = path if known else None
            self._path_mtu = PathMtu(self._ceiling(path) if known else BASE)
            self._congestion.path_mtu = self._path_mtu
        if self._congestion.max_datagram_size != self._path_mtu.size:
            self._congestion.resize(self._path_mtu.size)
            self._loss._pacer._max_datagram_size = self._path_mtu.size

    def _ceiling(self, path: QuicNetworkPath) -> int:
        route = self._route_payload(path.addr)
        return self._max_datagram if route is None else min(self._max_datagram, route)

    def _probe(self, path: QuicNetworkPath, size: int, now: float) -> list[tuple[bytes, Any]]:
        """Return a PING that is padded to ``size`` bytes. It may exceed the window: there is one in a round trip."""
        assert self._version is not None
        builder = QuicPacketBuilder(
            host_cid=self.host_cid,
            is_client=self._is_client,
            max_datagram_size=size,
            packet_number=self._packet_number,
            peer_cid=self._peer_cid.cid,
            quic_logger=self._quic_logger,
            spin_bit=self._spin_bit,
            version=self._version,
        )
        builder.start_packet(QuicPacketType.ONE_RTT, self._cryptos[tls.Epoch.ONE_RTT])
        self._congestion.probes.add(builder.packet_number)
        builder.start_frame(
            QuicFrameType.PING, handler=self._on_probe_delivery, handler_args=(self._path_mtu, size)
        )
        buffer = builder.start_frame(QuicFrameType.PADDING)
        buffer.push_bytes(bytes(builder.remaining_buffer_space))
        return self._flush_builder(builder=builder, network_path=path, peer_cid=self._peer_cid.cid, now=now)

    @staticmethod
    def _on_probe_delivery(delivery: QuicDeliveryState, path_mtu: PathMtu, size: int) -> None:
        if delivery is QuicDeliveryState.ACKED:
            path_mtu.probe_acked(size)
        else:
            path_mtu.probe_lost(size)

    def _parse_transport_parameters(self, data: bytes, from_session_ticket: bool = False) -> None:
        super()._parse_transport_parameters(data, from_session_ticket)
        largest = pull_quic_transport_parameters(Buffer(data=data)).max_udp_payload_size
        if largest is not None and not from_session_ticket:
            self._max_datagram = min(self._max_datagram, largest)
