"""The line between two network namespaces: frames from one interface go to the other, late, few or not at all.

TCP and QUIC suffer the same. What becomes of a frame is decided by the tests' seeded link; here are its sockets.
"""

from __future__ import annotations

import gc
import heapq
import json
import select
import socket
import sys
import time
from itertools import count
from random import Random
from typing import Any

from bench.model import Link
from support.link import Faults, Line

ETHERNET = 14
ETH_P_ALL = 3
IPV4 = b"\x08\x00"
PROTOCOLS = {6: "tcp", 17: "udp"}
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
BUFFER = 16 * 1024 * 1024
BATCH = 64
FRAME = 65535


def faults(link: Link) -> Faults:
    """Return what the line does to frames that go one way."""
    infinite = float("inf")
    return Faults(
        loss=link.loss,
        delay=link.rtt / 2,
        jitter=link.jitter,
        rate=link.rate or infinite,
        queue=link.queue or infinite,
        blackout=link.blackout,
    )


class Way:
    """One direction: the socket it reads, the one it writes, and what is on its way between them."""

    def __init__(self, source: socket.socket, sink: socket.socket, line: Line) -> None:
        self.source = source
        self.carried = {"tcp": 0, "udp": 0}
        """Frames that arrived."""
        self._sink = sink
        self._line = line
        self._queue: list[tuple[float, int, bytes]] = []
        self._order = count()

    def take(self, now: float) -> None:
        """Read what has come, a batch at most, and decide what becomes of it."""
        for _ in range(BATCH):
            try:
                frame = self.source.recv(FRAME)
            except BlockingIOError:
                return
            if frame[12:14] != IPV4:  # ARP is not what is measured
                self._sink.send(frame)
                continue
            for delivery in self._line.send(frame, now):
                heapq.heappush(self._queue, (delivery.at, next(self._order), delivery.data))

    def deliver(self, now: float) -> float | None:
        """Send what is due; returns when the next one is."""
        queue = self._queue
        while queue and queue[0][0] <= now:
            frame = heapq.heappop(queue)[2]
            protocol = PROTOCOLS.get(frame[ETHERNET + 9])
            if protocol is not None:
                self.carried[protocol] += 1
            try:
                self._sink.send(frame)
            except OSError:
                self.carried["refused"] = self.carried.get("refused", 0) + 1
        return queue[0][0] if queue else None


def forward(left: str, right: str, link: Link) -> None:
    """Forward until standard input ends; each line there is answered with what has been counted so far."""
    gc.disable()
    ends = [_raw(left), _raw(right)]
    ways = [
        Way(source, sink, Line(faults(link), Random(f"{link.seed} {number}")))
        for number, (source, sink) in enumerate((ends, ends[::-1]))
    ]
    print(json.dumps({"forwarding": True}), flush=True)
    waiting = [*ends, sys.stdin]
    began = time.perf_counter()
    timeout: float | None = None
    while True:
        readable, _, _ = select.select(waiting, (), (), timeout)
        if sys.stdin in readable:
            if not sys.stdin.readline():
                return
            print(json.dumps(_counted(ways, began)), flush=True)
        now = time.perf_counter()
        for way in ways:
            if way.source in readable:
                way.take(now)
        now = time.perf_counter()
        due = [at for at in (way.deliver(now) for way in ways) if at is not None]
        timeout = max(0.0, min(due) - time.perf_counter()) if due else None


def _raw(device: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    sock.bind((device, 0))
    sock.setblocking(False)
    return sock


def _counted(ways: list[Way], began: float) -> dict[str, Any]:
    carried: dict[str, int] = {}
    for way in ways:
        for name, number in way.carried.items():
            carried[name] = carried.get(name, 0) + number
    return {"cpu": time.process_time(), "wall": time.perf_counter() - began, **carried}
