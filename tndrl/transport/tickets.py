"""Session tickets: with one, a connection begins where an earlier one ended (RFC 8446 section 2.2).

A ticket is worth no more than the certificates that were verified when it was issued. They are kept with it, and
whoever uses it has them verified again first: what has expired, is not trusted or not let in any more is not resumed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from aioquic.tls import SessionTicket
from cryptography.hazmat.primitives.hashes import SHA256

from pki.credentials import Credentials
from pki.spiffe import SpiffeId
from pki.svid import SvidError
from tndrl.transport.identity import ServerPolicy, VerifyPeer
from tndrl.transport.target import Target
from tndrl.transport.udp import Address

LIFETIME = 24 * 3600.0
"""Seconds after a handshake with certificates in which it may be resumed, however often."""

TICKETS_PER_HANDSHAKE = 2
"""How many a node issues: each is good once, and a short call ends before another could arrive."""

TICKETS_PER_PEER = 8
"""Tickets for one peer that a caller keeps at most."""

MAX_AGE_ERROR = 10.0
"""Seconds by which the age that a client claims of its ticket may be wrong (RFC 8446 section 8.3)."""


@dataclass(frozen=True)
class Ticket:
    """One ticket, whose session holds a secret: whoever knows it can resume."""

    session: SessionTicket = field(repr=False)
    chain: tuple[bytes, ...] = field(repr=False)
    """What the other side proved itself with, in DER, leaf first."""
    identity: SpiffeId
    """Who that is."""
    verified_at: float
    """When that was, in seconds since the epoch; a resumed handshake proves nothing anew."""
    address: Address | None = None
    """Where a server was reached."""

    @property
    def is_alive(self) -> bool:
        """Whether its time is not over."""
        return self.session.is_valid and 0 <= time.time() - self.verified_at <= LIFETIME

    @property
    def allows_early_data(self) -> bool:
        """Whether its server takes 0-RTT data with it."""
        return self.session.max_early_data_size is not None

    def is_trusted(self, verify_peer: VerifyPeer) -> bool:
        """Return whether it is alive, and its certificates would be accepted today for the same identity."""
        try:
            return self.is_alive and verify_peer(self.chain) == self.identity
        except SvidError:
            return False

    def has_age(self, obfuscated: int) -> bool:
        """Return whether a client that claims this age sent its hello just now (RFC 8446 section 4.2.10)."""
        claimed = (obfuscated - self.session.age_add) % (1 << 32) / 1000
        return abs(time.time() - self.session.not_valid_before.timestamp() - claimed) <= MAX_AGE_ERROR


class IssuedTickets:
    """The tickets that a node has issued and that nobody has used yet; each is good once (RFC 8446 section 8.1).

    They are in memory only. A node that starts again knows none of those before, so nothing of before can be replayed.
    """

    def __init__(self, limit: int) -> None:
        self.counters: Counter[str] = Counter()
        self._limit = limit
        self._issued: dict[bytes, Ticket] = {}  # the oldest first
        self._used: dict[bytes, None] = {}  # only to tell a replay from a ticket of somebody else

    def __len__(self) -> int:
        """How many are good."""
        return len(self._issued)

    def issue(self, ticket: Ticket) -> None:
        """Take in a ticket. Where there are too many, the oldest of the same identity goes, or else the oldest."""
        self.counters["tickets_issued"] += 1
        self._issued[ticket.session.ticket] = ticket
        if len(self._issued) > self._limit:
            own = next(label for label, other in self._issued.items() if other.identity == ticket.identity)
            del self._issued[own if own != ticket.session.ticket else next(iter(self._issued))]

    def take(self, label: bytes) -> Ticket | None:
        """Return the ticket called ``label`` and forget it; None if it is not good, or not any more."""
        self.counters["tickets_offered"] += 1
        ticket = self._issued.pop(label, None)
        if ticket is None:
            self.counters["tickets_replayed" if label in self._used else "tickets_refused"] += 1
            return None
        self._used[label] = None
        if len(self._used) > self._limit:
            del self._used[next(iter(self._used))]
        return ticket


class TicketStore(Protocol):
    """Where a caller keeps the tickets that it was given."""

    def put(self, peer: str, ticket: Ticket) -> None:
        """Keep a ticket for ``peer``, a name for who calls whom and where."""

    def take(self, peer: str) -> Ticket | None:
        """Return the latest ticket for ``peer`` that is alive, and forget it; None if there is none."""

    def has(self, peer: str) -> bool:
        """Return whether there is a ticket for ``peer``."""


class MemoryTickets:
    """Keeps at most ``limit`` tickets in memory, the latest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[str, list[Ticket]] = {}  # peers in the order of their latest ticket

    def __len__(self) -> int:
        """How many there are."""
        return sum(map(len, self._kept.values()))

    def put(self, peer: str, ticket: Ticket) -> None:
        """Keep a ticket; the oldest of a peer that has enough goes, and those of the peer not heard of for longest."""
        if not self._limit:
            return
        self._kept[peer] = [*self._kept.pop(peer, []), ticket][-TICKETS_PER_PEER:]
        while len(self) > self._limit:
            oldest = next(iter(self._kept))
            self._kept[oldest].pop(0)
            if not self._kept[oldest]:
                del self._kept[oldest]

    def take(self, peer: str) -> Ticket | None:
        """Return the latest that is alive, and forget it."""
        kept = self._kept.get(peer, [])
        while kept:
            ticket = kept.pop()
            if not kept:
                del self._kept[peer]
            if ticket.is_alive:
                return ticket
        return None

    def has(self, peer: str) -> bool:
        """Return whether there is one."""
        return peer in self._kept


class ClientTickets:
    """The tickets of one caller, found by whom it calls and how it was verified."""

    def __init__(self, credentials: Credentials, store: TicketStore) -> None:
        # Another certificate of ours, or other CAs that we trust, make another caller.
        certificates = (credentials.chain[0], *credentials.bundle.roots)
        self._caller = [
            str(credentials.spiffe_id),
            *(one.fingerprint(SHA256()).hex() for one in certificates),
        ]
        self._store = store

    def take(self, target: Target, policy: ServerPolicy) -> Ticket | None:
        """Return a ticket with which a connection to ``target`` can be resumed, and forget it.

        It comes from a connection that was verified in the same way, and whose certificates ``policy`` accepts now.
        """
        ticket = self._store.take(self._key(target))
        return ticket if ticket is not None and ticket.is_trusted(policy.verify) else None

    def has(self, target: Target) -> bool:
        """Return whether there is a ticket for ``target``."""
        return self._store.has(self._key(target))

    def keeper(self, target: Target, address: Address) -> Callable[[Ticket], None]:
        """Return what takes the tickets of a connection to ``target``, of which some are enough."""
        left = TICKETS_PER_PEER

        def keep(ticket: Ticket) -> None:
            nonlocal left
            left -= 1
            if left >= 0:
                self._store.put(self._key(target), replace(ticket, address=address))

        return keep

    def _key(self, target: Target) -> str:
        return " ".join((target.host, str(target.port), str(target.expected), *self._caller))
