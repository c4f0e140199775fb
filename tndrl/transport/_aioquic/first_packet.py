"""Whether a client's first packet is one, seen before a connection is made for it: junk must not cost that much."""

from __future__ import annotations

from aioquic.quic.crypto import CryptoError, CryptoPair
from aioquic.quic.packet import QuicHeader


def is_authentic(header: QuicHeader, datagram: bytes, payload: int) -> bool:
    """Return whether a datagram begins with an Initial packet that its own keys open (RFC 9001 section 5.2).

    ``payload`` is where the packet's header ends. Whoever has seen this specification can make one: it proves nothing
    but that its sender speaks QUIC.
    """
    assert header.version is not None
    keys = CryptoPair()
    keys.setup_initial(cid=header.destination_cid, is_client=False, version=header.version)
    try:
        keys.decrypt_packet(datagram[: header.packet_length], payload, 0)
    except CryptoError:
        return False
    return True
