"""Session tickets for tests: made up, with certificates of the tests' world."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from aioquic.tls import CipherSuite, SessionTicket
from cryptography.hazmat.primitives.serialization import Encoding

from pki.spiffe import SpiffeId
from support import streams
from tndrl.transport.tickets import LIFETIME, Ticket


def chain_of(name: str) -> tuple[bytes, ...]:
    """Return the certificates of a node of the tests' world."""
    return tuple(one.public_bytes(Encoding.DER) for one in streams.credentials(name).chain)


def made(name: str = "b", *, age: float = 0.0, lifetime: float = LIFETIME, **changes: Any) -> Ticket:
    """Return a ticket of node ``name`` that was issued ``age`` seconds ago, right after a full handshake."""
    issued = datetime.now(UTC) - timedelta(seconds=age)
    session = SessionTicket(
        age_add=0xFFFFFF00,
        cipher_suite=CipherSuite.AES_256_GCM_SHA384,
        not_valid_after=issued + timedelta(seconds=lifetime),
        not_valid_before=issued,
        resumption_secret=os.urandom(48),
        server_name="localhost",
        ticket=os.urandom(64),
        max_early_data_size=0xFFFFFFFF,
        other_extensions=[(57, b"")],
    )
    whole = {
        "session": session,
        "chain": chain_of(name),
        "identity": SpiffeId.parse(streams.node_id(name)),
        "verified_at": time.time() - age,
    }
    return Ticket(**(whole | changes))
