"""A bad network between clients and a node: lossy, slow, late, dark, and with a NAT that changes its mind.

``Link`` decides what becomes of each datagram, without I/O or clock: the same seed and datagrams give the same faults.
``UdpLink`` puts real sockets around it.

    async with UdpLink(node.address, Link(seed, loss=0.3, burst=3)) as link:
        async with nodes.calling(folder, "b", link.address) as peer: ...
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import count, groupby, pairwise
from typing import NamedTuple, Self

Address = tuple[str, int]

IP_AND_UDP = 28
"""Bytes of the headers that a datagram takes on a wire besides its own."""

BATCH = 64
"""Datagrams read from a socket per wake-up."""

SOCKET_BUFFER = 4 * 1024 * 1024
"""Bytes asked for a socket, so that the losses are the link's and not the system's."""


class Direction(Enum):
    """Which way a datagram goes."""

    TO_NODE = "to the node"
    TO_CLIENT = "to the client"


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What a link does to datagrams that go one way. Shares are from 0 to 1, times in seconds."""

    loss: float = 0.0
    """Share of datagrams that are lost."""
    burst: int = 1
    """How many are lost in a row."""
    delay: float = 0.0
    """Time that each is on its way."""
    jitter: float = 0.0
    """Up to so much more; those behind wait, so the order stays."""
    duplicate: float = 0.0
    """Share that arrives twice."""
    reorder: float = 0.0
    """Share that is held back by ``hold``, so that later ones overtake it."""
    hold: float = 0.005
    corrupt: float = 0.0
    """Share that arrives with one bit turned."""
    rate: float = math.inf
    """Bits per second, headers included."""
    queue: float = math.inf
    """Datagrams that may wait for the line; more are dropped (drop-tail)."""
    mtu: float = math.inf
    """Bytes of the largest datagram that passes, headers not included; larger ones vanish without a word."""
    blackout: tuple[float, float] | None = None
    """Period and length: of each period, counted from the first datagram, the last ``length`` is dark."""


class Delivery(NamedTuple):
    """A datagram and when it arrives."""

    at: float
    data: bytes


class Line:
    """One direction of a link."""

    def __init__(self, faults: Faults, dice: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        """Datagrams "sent" into this direction; "lost", "dropped" by the queue, "dark", "corrupted", "delivered",
        "too large"."""
        self.mtu = faults.mtu
        self._faults = faults
        self._dice = dice
        self._to_lose = 0  # what is left of a burst
        self._free_at = -math.inf  # when the line has carried what waits for it
        self._leaving: list[float] = []  # when each of those that wait will have left
        self._last = -math.inf  # when the last one in order arrives
        self._begin: float | None = None
        self._dark_until = -math.inf

    def darken(self, until: float) -> None:
        """Lose everything that is sent before ``until``."""
        self._dark_until = until

    def send(self, data: bytes, now: float) -> list[Delivery]:
        """Return what arrives of ``data``, and when."""
        faults, dice = self._faults, self._dice
        self.counts["sent"] += 1
        if self._is_dark(now):
            return self._gone("dark")
        if len(data) > self.mtu:
            return self._gone("too large")
        if self._loses():
            return self._gone("lost")
        if faults.corrupt and dice.random() < faults.corrupt:
            self.counts["corrupted"] += 1
            data = turned(data, dice)
        copies = 2 if faults.duplicate and dice.random() < faults.duplicate else 1
        if copies > 1:
            self.counts["copied"] += 1
        return [delivery for _ in range(copies) for delivery in self._carry(data, now)]

    def _carry(self, data: bytes, now: float) -> list[Delivery]:
        faults, dice = self._faults, self._dice
        self._leaving = [at for at in self._leaving if at > now]
        if len(self._leaving) >= faults.queue:
            return self._gone("dropped")
        if faults.rate < math.inf:
            self._free_at = max(now, self._free_at) + (len(data) + IP_AND_UDP) * 8 / faults.rate
            self._leaving.append(self._free_at)
            now = self._free_at
        at = max(self._last, now + faults.delay + faults.jitter * dice.random())
        self.counts["delivered"] += 1
        if faults.reorder and dice.random() < faults.reorder:
            self.counts["held"] += 1
            return [Delivery(at + faults.hold, data)]
        self._last = at
        return [Delivery(at, data)]

    def _is_dark(self, now: float) -> bool:
        if self._begin is None:
            self._begin = now
        if now < self._dark_until:
            return True
        if self._faults.blackout is None:
            return False
        period, length = self._faults.blackout
        return (now - self._begin) % period >= period - length

    def _loses(self) -> bool:
        loss, burst = self._faults.loss, self._faults.burst
        if not self._to_lose and loss:
            # Bursts begin so often that the share of all datagrams in them is ``loss``.
            begins = 1.0 if loss == 1 else loss / (loss + burst * (1 - loss))
            self._to_lose = burst if self._dice.random() < begins else 0
        if not self._to_lose:
            return False
        self._to_lose -= 1
        return True

    def _gone(self, how: str) -> list[Delivery]:
        self.counts[how] += 1
        return []


class Link:
    """Both directions, each with dice of its own: what goes one way changes nothing for the other.

    ``Link(7, loss=0.02)`` has the same faults both ways, ``Link(7, to_node=Faults(loss=0.02))`` one way only.
    ``rebind``: seconds after which the NAT changes the client's port, then its address, then its port, and so on;
    ``rebindings``: how often at most.
    """

    def __init__(
        self,
        seed: int,
        *,
        to_node: Faults | None = None,
        to_client: Faults | None = None,
        rebind: float = math.inf,
        rebindings: float = math.inf,
        **both: object,
    ) -> None:
        faults = Faults(**both)  # type: ignore[arg-type]
        self.lines = {
            Direction.TO_NODE: Line(to_node or faults, random.Random(f"{seed} to node")),
            Direction.TO_CLIENT: Line(to_client or faults, random.Random(f"{seed} to client")),
        }
        self.rebind = rebind
        self.rebindings = rebindings

    def send(self, data: bytes, direction: Direction, now: float) -> list[Delivery]:
        """Return what arrives of a datagram at the other side, and when. Nothing, if it is lost."""
        return self.lines[direction].send(data, now)

    def darken(self, until: float) -> None:
        """Lose everything that is sent in either direction before ``until``."""
        for line in self.lines.values():
            line.darken(until)

    def narrow(self, mtu: float) -> None:
        """Let no larger datagrams pass from now on, in either direction."""
        for line in self.lines.values():
            line.mtu = mtu


def turned(data: bytes, dice: random.Random) -> bytes:
    """Return ``data`` with one bit turned."""
    changed = bytearray(data)
    changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def source_host(path: int) -> str:
    """Return the loopback address of a client's ``path``-th binding: every second rebinding changes it."""
    return f"127.0.0.{1 + path // 2 % 250}"


class Seen(NamedTuple):
    """A datagram that came to a link, delivered or not; ``at`` is the event loop's time."""

    at: float
    direction: Direction
    size: int


def round_trips(log: list[Seen]) -> int:
    """Return how many times the client spoke and the node answered. Each needs the one before to have arrived.

    Ask it about a link with some delay: an acknowledgement may otherwise cross what it has nothing to do with.
    """
    turns = [direction for direction, _ in groupby(seen.direction for seen in log)]
    return sum(turn == (Direction.TO_NODE, Direction.TO_CLIENT) for turn in pairwise(turns))


class _Flow:
    """A client's datagrams, and the socket from which the node gets them."""

    def __init__(self, client: Address) -> None:
        self.client = client
        self.path = 0
        self.back: socket.socket | None = None


class UdpLink:
    """Real UDP sockets around a link: clients connect to ``address`` instead of to the node at ``target``.

    Each client has a port of its own towards the node, as behind a NAT. ``log`` grows while ``logging`` is set.
    """

    def __init__(self, target: str, link: Link, *, logging: bool = False) -> None:
        host, _, port = target.rpartition(":")
        self.link = link
        self.logging = logging
        self.log: list[Seen] = []
        self._came = asyncio.Event()
        self.rebindings = 0
        self._target = (host, int(port))
        self._loop = asyncio.get_running_loop()
        self._front = self._socket("127.0.0.1")
        self._flows: dict[Address, _Flow] = {}
        self._due: list[tuple[float, int, Callable[[bytes], None], bytes]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._rebinding: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        """Where clients connect."""
        host, port = self._front.getsockname()
        return f"{host}:{port}"

    async def __aenter__(self) -> Self:
        self._loop.add_reader(self._front, self._read, self._front, self._from_client)
        self._plan_rebinding()
        return self

    async def __aexit__(self, *_error: object) -> None:
        for timer in (self._timer, self._rebinding):
            if timer is not None:
                timer.cancel()
        self._close(self._front)
        for flow in self._flows.values():
            self._close(flow.back)

    async def logged(self, count: int) -> None:
        """Wait until the log has ``count`` entries. Safe to cancel."""
        while len(self.log) < count:
            self._came.clear()
            await self._came.wait()

    def black_out(self, seconds: float) -> None:
        """Let nothing pass for some time."""
        self.link.darken(self._loop.time() + seconds)

    def rebind(self, host: str | None = None) -> None:
        """Give every client another port towards the node: at every second call, or with ``host``, another address.

        What the node still sends to the old port is lost, as behind a NAT.
        """
        self.rebindings += 1
        for flow in self._flows.values():
            flow.path += 1
            self._bind(flow, host or source_host(flow.path))

    def _plan_rebinding(self) -> None:
        if self.rebindings < self.link.rebindings and self.link.rebind < math.inf:
            self._rebinding = self._loop.call_later(self.link.rebind, self._rebind_and_go_on)

    def _rebind_and_go_on(self) -> None:
        self.rebind()
        self._plan_rebinding()

    def _bind(self, flow: _Flow, host: str) -> None:
        self._close(flow.back)
        back = flow.back = self._socket(host)
        back.connect(self._target)
        self._loop.add_reader(back, self._read, back, lambda data, _node: self._from_node(data, flow))

    def _socket(self, host: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        sock.bind((host, 0))
        return sock

    def _close(self, sock: socket.socket | None) -> None:
        if sock is not None:
            self._loop.remove_reader(sock)
            sock.close()

    def _read(self, sock: socket.socket, receive: Callable[[bytes, Address], None]) -> None:
        for _ in range(BATCH):
            try:
                data, address = sock.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                continue  # the port of the other side is closed; it learns nothing of it, as on a real network
            receive(data, address)

    def _from_client(self, data: bytes, client: Address) -> None:
        flow = self._flows.get(client)
        if flow is None:
            flow = self._flows[client] = _Flow(client)
            self._bind(flow, source_host(0))
        self._pass(data, Direction.TO_NODE, lambda data: flow.back.send(data) if flow.back else None)

    def _from_node(self, data: bytes, flow: _Flow) -> None:
        self._pass(data, Direction.TO_CLIENT, lambda data: self._front.sendto(data, flow.client))

    def _pass(self, data: bytes, direction: Direction, deliver: Callable[[bytes], object]) -> None:
        now = self._loop.time()
        if self.logging:
            self.log.append(Seen(now, direction, len(data)))
            self._came.set()
        for at, arrived in self.link.send(data, direction, now):
            heapq.heappush(self._due, (at, next(self._numbers), deliver, arrived))
        self._deliver()

    def _deliver(self) -> None:
        while self._due and self._due[0][0] <= self._loop.time():
            _at, _number, deliver, data = heapq.heappop(self._due)
            try:
                deliver(data)
            except OSError:
                continue  # full or closed on the other side: lost
        at = self._due[0][0] if self._due else math.inf
        if self._timer is not None and self._timer.when() != at:
            self._timer.cancel()
            self._timer = None
        if self._due and self._timer is None:
            self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._deliver()
