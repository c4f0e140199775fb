"""Moving a connection to another address of ours (RFC 9000 section 9).

aioquic follows a peer that moves. When we move it knows nothing of it, and aioquic has no call to say so.
"""

from __future__ import annotations

from typing import Any

from aioquic import tls
from aioquic.quic.connection import QuicNetworkPath
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace

from tndrl.transport._aioquic.new_path import NewPath


class Migration(NewPath):
    """Goes on from a new address with a new connection ID, and asks the peer whether it is heard there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._challenge_due = False

    @property
    def is_unanswered(self) -> bool:
        """Whether a probe timeout has expired since the peer last acknowledged anything (RFC 9002 section 6.2)."""
        return self._loss._pto_count > 0

    @property
    def is_heard(self) -> bool:
        """Whether the peer has answered from where we are now, or we have not moved."""
        return not self._challenge_due and not self._network_paths[0].local_challenges

    def migrate(self, now: float, *, new_host: bool) -> None:
        """Send from a new address from now on. The handshake must be confirmed (RFC 9000 section 9).

        With a ``new_host``, not another port only, round trips and congestion are measured anew (section 9.4).

        The peer must not be able to link both addresses by an ID (section 9.5). What was on its way is sent again: the
        old address may be gone, and the answers with it.
        """
        self.change_connection_id()
        self._challenge_due = True
        self._loss._pto_count = 0
        space = self._spaces[tls.Epoch.ONE_RTT]
        self._loss._on_packets_lost(
            congestion_event=False, now=now, packets=tuple(space.sent_packets.values()), space=space
        )
        if new_host:
            self._forget_measurements()

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        if self._challenge_due:
            self._write_path_challenge_frame(builder=builder, network_path=self._network_paths[0])
            self._challenge_due = False
        super()._write_connection_limits(builder, space)

    def _on_path_challenge_delivery(self, delivery: QuicDeliveryState, network_path: QuicNetworkPath) -> None:
        super()._on_path_challenge_delivery(delivery, network_path)
        if self._is_client and delivery is not QuicDeliveryState.ACKED and network_path.local_challenges:
            self._challenge_due = True  # with new data (RFC 9000 section 8.2.1)
