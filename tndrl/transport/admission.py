"""Who may begin a handshake: decided by a client's first packet, before anything is derived or remembered for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from aioquic.quic.packet import QuicHeader

from tndrl.config import LimitsConfig
from tndrl.transport._aioquic.refusal import refusal
from tndrl.transport.address_rate import AddressRate
from tndrl.transport.codes import TransportCode
from tndrl.transport.rate import TokenBucket
from tndrl.transport.retry import RetryTokens
from tndrl.transport.udp import Address

SHORTEST_FIRST_ID = 8
"""Bytes of the shortest connection ID that a client may choose for its first packet (RFC 9000 section 7.2)."""

REFUSALS = 100
"""Packets a second that are told why they are refused, which costs a key each; the others are dropped."""

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True)
class Accept(Generic[S]):
    """The handshake may begin."""

    original_destination: bytes
    """The connection ID that the client chose first (RFC 9000 section 7.3)."""
    retry_source: bytes | None = None
    """The one that a Retry gave it; None if it got none."""
    instead_of: S | None = None
    """A handshake that is ended to make room."""


@dataclass(frozen=True)
class Answer:
    """No handshake: ``datagram`` says why, or what to do first."""

    datagram: bytes
    counter: str


@dataclass(frozen=True)
class Drop:
    """No handshake, and no answer."""

    counter: str


class HalfOpen(Generic[S]):
    """The handshakes that are under way, each with the host it comes from."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._hosts: dict[S, str] = {}
        self._count: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._hosts)

    def add(self, session: S, host: str) -> None:
        """One more is under way."""
        self._hosts[session] = host
        self._count[host] += 1

    def discard(self, session: S) -> None:
        """It is no longer."""
        host = self._hosts.pop(session, None)
        if host is not None:
            self._count[host] -= 1
            if not self._count[host]:
                del self._count[host]

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another one."""
        return len(self._hosts) >= self._most

    def most_dispensable(self, host: str) -> S | None:
        """Return the oldest handshake of the host that has most of them; None if that has no more than ``host``."""
        greediest, count = max(self._count.items(), key=lambda item: item[1])
        if count <= self._count[host]:
            return None
        return next(session for session, where in self._hosts.items() if where == greediest)


class Admission(Generic[S]):
    """Decides about first packets by what is under way. It sends nothing and holds no connection, only names them."""

    def __init__(self, limits: LimitsConfig, now: float) -> None:
        self._limits = limits
        self._tokens = RetryTokens()
        self._half_open: HalfOpen[S] = HalfOpen(limits.half_open)
        self._all: set[S] = set()
        # Whoever sends in the name of an address uses up what that has without a token, and nothing else.
        self._unproved = AddressRate(limits.handshakes_per_second)
        self._proved = AddressRate(limits.handshakes_per_second)
        self._refusals = TokenBucket(REFUSALS, now)

    @property
    def half_open(self) -> int:
        """How many handshakes are under way."""
        return len(self._half_open)

    def decide(self, header: QuicHeader, address: Address, now: float) -> Accept[S] | Answer | Drop:
        """Return what becomes of the Initial packet that ``address`` sent."""
        if len(header.destination_cid) < SHORTEST_FIRST_ID:
            return Drop("initials_malformed")
        host: str = address[0]
        if not header.token:
            if len(self._half_open) >= self._limits.retry_above or not self._unproved.allows(host, now):
                return Answer(self._tokens.retry(header, address, now), "retries_sent")
            return self._admit(header, header.destination_cid, None, host, now)
        original = self._tokens.original(header, address, now)
        if original is None:
            return self._refuse(header, TransportCode.INVALID_TOKEN, "", now)
        if not self._proved.allows(host, now):
            return Drop("handshakes_too_many")  # it tries again by itself, and a little later may
        return self._admit(header, original, header.destination_cid, host, now)

    def began(self, session: S, host: str) -> None:
        """A handshake that was accepted is under way."""
        self._all.add(session)
        self._half_open.add(session, host)

    def confirmed(self, session: S) -> None:
        """Its handshake is over."""
        self._half_open.discard(session)

    def ended(self, session: S) -> None:
        """The connection is over."""
        self._half_open.discard(session)
        self._all.discard(session)

    def _admit(
        self, header: QuicHeader, original: bytes, retry_source: bytes | None, host: str, now: float
    ) -> Accept[S] | Answer | Drop:
        if len(self._all) >= self._limits.connections:
            reason = (
                f"all {self._limits.connections} connections of this node are in use (limits.connections)"
            )
            return self._refuse(header, TransportCode.CONNECTION_REFUSED, reason, now)
        instead_of = None
        if self._half_open.is_full:
            instead_of = self._half_open.most_dispensable(host)
            if instead_of is None:
                return Drop("handshakes_too_many")
        if retry_source is not None:
            self._tokens.spend(header, now)
        return Accept(original, retry_source, instead_of)

    def _refuse(self, header: QuicHeader, code: TransportCode, reason: str, now: float) -> Answer | Drop:
        counter = f"initials_refused.{code.name.lower()}"
        if self._refusals.take(now) > 0:
            return Drop(counter)
        return Answer(refusal(header, code, reason), counter)
