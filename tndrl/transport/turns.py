"""Whose datagrams are handled next: a peer that sends more than can be handled waits for itself, and nobody for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from tndrl.transport.udp import Address

TURN = 0.001
"""Seconds after which a turn ends, so that what has arrived since is looked at."""

SHARE = 16
"""Datagrams of one peer that are handled before those of the next."""

WAITING = 8 * 1024 * 1024
"""Bytes of one peer that may wait. What comes beyond is lost, as a full socket loses it, but nobody else's is."""

WAITING_EARLY = 128 * 1024
"""The same for a peer that has not proved who it is."""

WAITING_FIRST = 1024 * 1024
"""The same for the first packets of all that are no peers yet: some 700 of them, which take a tenth of a second."""

OVERHEAD = 256
"""Bytes that each waiting datagram takes beside its own."""


class Receiver(Protocol):
    """What takes the datagrams of one peer."""

    @property
    def most_waiting(self) -> int:
        """Bytes of it that may wait."""

    def receive_datagram(self, data: bytes, address: Address) -> None:
        """Take one datagram."""

    def react(self) -> None:
        """Act on those taken."""


class _Queue(deque[tuple[bytes, Address]]):
    """What waits for one peer, and how many bytes that takes."""

    size = 0


class Turns:
    """Queues of received datagrams, one for each peer, handled in turns: the shortest queue first.

    One socket brings what all peers send, so it must be emptied faster than anything is handled: a datagram that is
    lost here is one of the peer that sends too many, one that the system loses is anybody's.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._queues: dict[Receiver, _Queue] = {}
        self._passed_over: set[Receiver] = set()  # had no share in the last turn, so they begin the next

    def add(self, receiver: Receiver, data: bytes, address: Address) -> bool:
        """Queue one datagram; returns whether there was room for it."""
        queue = self._queues.get(receiver)
        if queue is None:
            queue = self._queues[receiver] = _Queue()
        elif queue.size > WAITING_EARLY and queue.size > receiver.most_waiting:
            return False
        queue.append((data, address))
        queue.size += len(data) + OVERHEAD
        return True

    def drop(self, receiver: Receiver) -> None:
        """Forget a receiver that is gone, and what waits for it."""
        self._queues.pop(receiver, None)
        self._passed_over.discard(receiver)

    def take(self) -> bool:
        """Handle what waits, for one turn; returns whether another one is needed."""
        ends = self._clock() + TURN
        if len(self._queues) == 1:  # as with nearly every datagram of a call
            (receiver,) = self._queues
            self._serve(receiver, ends)
            self._passed_over.clear()
            return bool(self._queues)
        passed_over = set(self._queues)
        while self._queues:
            for receiver in sorted(self._queues, key=self._order):
                self._serve(receiver, ends)
                passed_over.discard(receiver)
                if self._clock() >= ends:
                    self._passed_over = passed_over & self._queues.keys()
                    return bool(self._queues)
            passed_over.clear()
        self._passed_over.clear()
        return False

    def _order(self, receiver: Receiver) -> tuple[bool, int]:
        return receiver not in self._passed_over, len(self._queues[receiver])

    def _serve(self, receiver: Receiver, ends: float) -> None:
        queue = self._queues.get(receiver)
        if queue is None:
            return  # dropped by what another one did
        for _ in range(len(queue) if len(self._queues) == 1 else SHARE):
            data, address = queue.popleft()
            queue.size -= len(data) + OVERHEAD
            receiver.receive_datagram(data, address)
            if not queue:
                self._queues.pop(receiver, None)
                break
            if self._clock() >= ends:
                break
        receiver.react()
