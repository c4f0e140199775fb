"""What goes to an address that has proved nothing: at most three times what came from it (RFC 9000 section 8.1).

aioquic keeps to it, but for two holes. It closes a connection without counting. And it takes a Handshake packet for the
proof of whatever address stands on it: a client could have its handshake sent to a third party, without a bound.
"""

from __future__ import annotations

from aioquic.quic.connection import NetworkAddress, QuicConnection


class AntiAmplification(QuicConnection):
    """Closes silently where there is no room for more, and keeps a handshake at the address where it began."""

    @property
    def has_begun(self) -> bool:
        """Whether a packet of the peer was authentic: before that all may have been junk."""
        return self._remote_initial_source_connection_id is not None

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        """Handle one datagram, unless the handshake would move with it (RFC 9000 section 9)."""
        if self._handshake_confirmed or not self.has_begun or addr == self._network_paths[0].addr:
            super().receive_datagram(data, addr, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return what is to be sent; a CONNECTION_CLOSE for which there is no room is left out."""
        is_closing, path = self._close_pending, self._network_paths[0]
        datagrams = super().datagrams_to_send(now)
        return [] if is_closing and not path.can_send(0) else datagrams
