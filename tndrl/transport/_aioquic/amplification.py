"""What goes to an address that has proved nothing: at most three times what came from it (RFC 9000 section 8.1).

aioquic keeps to it, but for two holes. It closes a connection without counting. And it takes a Handshake packet for the
proof of whatever address stands on it: a client could have its handshake sent to a third party, without a bound.
"""

from __future__ import annotations

from typing import Any

from aioquic.quic.connection import NetworkAddress, QuicConnection


class AntiAmplification(QuicConnection):
    """Closes silently where there is no room for more, and has a handshake prove no address but where it began."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._began_at: NetworkAddress | None = None  # where the first authentic packet came from

    @property
    def has_begun(self) -> bool:
        """Whether a packet of the peer was authentic: before that all may have been junk."""
        return self._remote_initial_source_connection_id is not None

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        """Handle one datagram. A handshake may move, as when a NAT changes its mind, to where little is sent.

        There only a PATH_RESPONSE proves the address (RFC 9000 section 8.2), when the handshake is complete.
        """
        handshaking = not self._handshake_confirmed
        super().receive_datagram(data, addr, now)
        if self._began_at is None and self.has_begun:
            self._began_at = addr
        if handshaking and not self._is_client:
            for path in self._network_paths:
                path.is_validated = path.is_validated and path.addr == self._began_at

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return what is to be sent; a CONNECTION_CLOSE for which there is no room is left out."""
        is_closing, path = self._close_pending, self._network_paths[0]
        datagrams = super().datagrams_to_send(now)
        return [] if is_closing and not path.can_send(0) else datagrams
