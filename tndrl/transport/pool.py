"""Which connection to use, to check, to make and to close: decisions only, for a dialer to carry out.

A pool belongs to one own identity. Its key is the target: the address, and the identity expected there or none, so
that a connection verified by host name is never used where an identity is expected. Nothing here waits; the times are
those of the event loop's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pki.spiffe import SpiffeId
from tndrl.errors import StreamRefusedError, TndrlError
from tndrl.transport.backoff import Backoff
from tndrl.transport.target import Target

MOST_CONNECTIONS = 3
"""Connections to one target: another one is made only when the peer allows no more streams on those there are."""


class Connection(Protocol):
    """What the pool has to know of a connection."""

    @property
    def failure(self) -> TndrlError | None:
        """Why it is over; None while it lives."""

    @property
    def is_confirmed(self) -> bool:
        """Whether the peer has accepted us."""

    @property
    def peer_id(self) -> SpiffeId | None:
        """Who it is."""

    @property
    def streams(self) -> int:
        """How many streams are open."""

    @property
    def streams_left(self) -> int:
        """How many more the peer allows."""

    @property
    def heard_at(self) -> float:
        """When something last came from the peer."""

    @property
    def idle_since(self) -> float:
        """When its last stream ended, or when it was made."""

    @property
    def keepalive(self) -> float:
        """Seconds after which silence is answered with a PING."""


C = TypeVar("C", bound=Connection)


@dataclass(frozen=True)
class Use(Generic[C]):
    """Open the stream on this connection."""

    connection: C


@dataclass(frozen=True)
class Check(Generic[C]):
    """Send a PING on this connection first: a live peer would have answered the keepalive's."""

    connection: C


@dataclass(frozen=True)
class Dial:
    """Make a connection."""


@dataclass(frozen=True)
class Refuse:
    """Give up, with this error."""

    error: TndrlError


class _Place(Generic[C]):
    """What is known of one target."""

    def __init__(self, longest_pause: float) -> None:
        self.connections: list[C] = []  # the oldest first: later ones fall idle, and are evicted
        self.doubted: dict[C, float] = {}  # those that left a PING unanswered, and since when
        self.failure: TndrlError | None = None  # of the last try or connection, if that was a failure
        self.identity: SpiffeId | None = None  # whoever was there last
        self.changed_at = 0.0
        self.backoff = Backoff(longest_pause)

    def tidy(self, now: float) -> None:
        """Let go of connections that are over."""
        for connection in [one for one in self.connections if one.failure is not None]:
            self.remove(connection)
            self.failure, self.changed_at = connection.failure, now
            if connection.is_confirmed:
                self.backoff.reset()
            else:
                self.backoff.failed(now)  # the peer refused us after we had accepted it

    def usable(self) -> list[C]:
        """Return the connections that have not been silent when asked."""
        return [one for one in self.connections if one.heard_at >= self.doubted.get(one, one.heard_at)]

    def give_up_doubted(self) -> list[C]:
        """Let go of the connections that are still silent."""
        usable = self.usable()
        silent = [one for one in self.connections if one not in usable]
        for connection in silent:
            self.remove(connection)
        return silent

    def remove(self, connection: C) -> None:
        """Forget a connection."""
        self.connections.remove(connection)
        self.doubted.pop(connection, None)


class Pool(Generic[C]):
    """The connections of one own identity, by target."""

    def __init__(self, *, evict_after: float, reconnect_max: float) -> None:
        self._evict_after = evict_after
        self._reconnect_max = reconnect_max
        self._remember_for = evict_after + 2 * reconnect_max  # no shorter than the pauses of who still tries
        self._places: dict[Target, _Place[C]] = {}

    @property
    def connections(self) -> list[C]:
        """Every connection that lives, or has not been missed yet."""
        return [one for place in self._places.values() for one in place.connections]

    def live(self, target: Target) -> list[C]:
        """Return the connections to ``target`` that live."""
        place = self._places.get(target)
        return [] if place is None else [one for one in place.connections if one.failure is None]

    def acquire(self, target: Target, now: float, *, streams: int = 1) -> Use[C] | Check[C] | Dial | Refuse:
        """Return what to do for a connection to ``target`` on which ``streams`` more streams can be opened."""
        place = self._place(target)
        place.tidy(now)
        usable = place.usable()
        with_room = [one for one in usable if one.streams_left >= streams]
        for connection in with_room:
            if now - connection.heard_at <= connection.keepalive:
                return Use(connection)
        if with_room:
            return Check(with_room[0])
        if len(usable) >= MOST_CONNECTIONS:
            return Refuse(StreamRefusedError(f"{target} allows no more streams on {len(usable)} connections"))
        if place.failure is not None and place.backoff.refuses(now):
            return Refuse(place.failure)
        return Dial()

    def dialled(self, target: Target, connection: C) -> list[C]:
        """Take in a new connection; returns those to give up: the peer answers, and on them it was silent."""
        place = self._place(target)
        place.failure, place.identity = None, connection.peer_id
        silent = place.give_up_doubted()
        place.connections.append(connection)
        return silent

    def failed(self, target: Target, error: TndrlError, now: float) -> None:
        """Note that no connection could be made."""
        place = self._place(target)
        place.failure, place.changed_at = error, now
        place.backoff.failed(now)

    def doubt(self, target: Target, connection: C, now: float) -> None:
        """Note that a connection left a PING unanswered: nobody uses it before something is heard on it."""
        place = self._place(target)
        if connection in place.connections:
            place.doubted[connection] = now

    def failure(self, target: Target) -> TndrlError | None:
        """Return why there is no connection to ``target``; None if there is one, or nobody wanted one."""
        place = self._places.get(target)
        if place is None or self.live(target):
            return None
        return place.connections[-1].failure if place.connections else place.failure

    def retry_at(self, target: Target) -> float:
        """Return when whoever waits for ``target`` should try again."""
        return self._place(target).backoff.due

    def is_reachable(self, target: Target) -> bool:
        """Return whether there is a connection to ``target`` that is not in doubt."""
        place = self._places.get(target)
        return place is not None and any(one.failure is None for one in place.usable())

    def heard_of(self, identity: SpiffeId | None, host: str = "", port: int = 0) -> None:
        """End the pauses of targets with this identity or address: there is a sign that it can be reached."""
        for target, place in self._places.items():
            here = (target.host, target.port) == (host, port)
            if here or (identity is not None and identity in (target.expected, place.identity)):
                place.backoff.hurry()

    def evict(self, now: float) -> tuple[list[C], float | None]:
        """Return the connections to close, on which no stream was open for long, and when to ask again."""
        closing, times = [], []
        for target, place in tuple(self._places.items()):
            place.tidy(now)
            for connection in tuple(place.connections):
                since = now if connection.streams else connection.idle_since
                if since + self._evict_after <= now:
                    place.remove(connection)
                    place.changed_at = now
                    closing.append(connection)
                else:
                    times.append(since + self._evict_after)
            if not place.connections:
                forgotten_at = place.changed_at + self._remember_for
                if forgotten_at <= now:
                    del self._places[target]
                else:
                    times.append(forgotten_at)
        return closing, min(times, default=None)

    def _place(self, target: Target) -> _Place[C]:
        if target not in self._places:
            self._places[target] = _Place(self._reconnect_max)
        return self._places[target]
