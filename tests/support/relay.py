"""A UDP relay between a client and a node, which cuts their connection as a network would: without a word to either."""

from __future__ import annotations

import asyncio
from typing import Any, Self

Address = tuple[str, int]

LONG_HEADER = 0x80
INITIAL = 0xC0
CID = 8
"""Bytes of the connection IDs that nodes choose."""


class Relay:
    """Listens on a port of its own and passes one connection at a time on to the node at ``target``.

    A cut closes the port for ``outage`` seconds. What passes afterwards is a new connection only: datagrams of the
    one that was cut are dropped for ever. ``connections`` counts those that passed.
    """

    def __init__(self, target: str, *, outage: float) -> None:
        host, _, port = target.rpartition(":")
        self.connections = 0
        self._target = (host, int(port))
        self._outage = outage
        self._front: asyncio.DatagramTransport | None = None
        self._back: asyncio.DatagramTransport | None = None
        self._client: Address = ("", 0)
        self._address: Address = ("127.0.0.1", 0)
        self._known: set[bytes] = set()  # the connection IDs that the node gave to the client
        self._waiting: list[bytes] = []  # for the way to the node, while that is made
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Where the client connects."""
        return f"{self._address[0]}:{self._address[1]}"

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End the connection that runs; does nothing while the port is closed."""
        if self._front is not None:
            self._drop()
            self._own(self._reopen())

    def swallow(self) -> None:
        """Let nothing of the connection that runs pass any more; the port stays open, so nobody is told."""
        self._forget()

    def _drop(self) -> None:
        if self._front is not None:
            self._front.abort()
            self._front = None
        self._forget()

    def _forget(self) -> None:
        if self._back is not None:
            self._back.abort()
            self._back = None
        self._known.clear()
        self._waiting.clear()

    def _own(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reopen(self) -> None:
        await asyncio.sleep(self._outage)  # the outage is the fault itself; nothing waits for it
        await self._open()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        front, _ = await loop.create_datagram_endpoint(lambda: _End(self._out), local_addr=self._address)
        self._front = front
        self._address = front.get_extra_info("sockname")[:2]

    def _out(self, data: bytes, client: Address) -> None:
        """Take a datagram of the client."""
        if self._back is not None and (data[0] & LONG_HEADER or data[1 : 1 + CID] in self._known):
            self._back.sendto(data)
        elif self._back is None and data[0] & 0xF0 == INITIAL:
            self._waiting.append(data)
            if len(self._waiting) == 1:
                self._client = client
                self._own(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        back, _ = await loop.create_datagram_endpoint(lambda: _End(self._in), remote_addr=self._target)
        if not self._waiting:  # cut meanwhile
            back.abort()
            return
        self._back = back
        self.connections += 1
        while self._waiting:
            back.sendto(self._waiting.pop(0))

    def _in(self, data: bytes, _node: Address) -> None:
        """Take a datagram of the node; a long header (RFC 9000 section 17.2) says which ID it gave itself."""
        if data[0] & LONG_HEADER:
            start = 6 + data[5]
            self._known.add(data[start + 1 : start + 1 + data[start]])
        if self._front is not None:
            self._front.sendto(data, self._client)


class _End(asyncio.DatagramProtocol):
    def __init__(self, receive: Any) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Hand a datagram on."""
        self._receive(data, addr)
