"""One module for each peer: how it serves and how it is called, over the same service with the same limits."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from bench.model import Ground, Peer

_MODULES = {
    Peer.TNDRL: "node",
    Peer.TCP: "tcp",
    Peer.JSONRPC: "jsonrpc",
    Peer.AIOQUIC: "stock",
    Peer.UNIX: "unix",
    Peer.OWN: "own",
    Peer.GO: "go",
}


class Caller(Protocol):
    """Calls the service."""

    async def unary(self, timeout: float = 30.0) -> None:
        """Send and receive a small message."""

    async def down(self, count: int) -> int:
        """Receive large messages; returns their bytes."""

    async def up(self, count: int) -> int:
        """Send large messages; returns their bytes."""

    async def both(self, count: int) -> int:
        """Do both at once; returns the bytes of both."""


class Connection(Protocol):
    """One connection to the server."""

    def caller(self) -> Caller:
        """Return a caller of the service on a channel of its own."""

    def agent(self) -> Any:
        """Return a caller of the agent."""

    async def ping(self) -> None:
        """Make the smallest call that the peer has."""


class Make(Protocol):
    """A peer's module."""

    def serving(self, folder: Path, host: str, params: Any) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Serve at a free port of ``host``; yields facts for drivers, ``port`` among them."""

    def connecting(self, ground: Ground) -> AbstractAsyncContextManager[Connection]:
        """Connect; nothing is called yet."""


def make_of(peer: Peer) -> Make:
    """Return the module of a peer; it alone loads what that peer needs."""
    module: Any = import_module(f"bench.peers.{_MODULES[peer]}")
    return module  # type: ignore[no-any-return]
