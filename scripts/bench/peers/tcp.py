"""grpc.aio over TCP with TLS 1.3 and certificates of both sides: what a user would pick instead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bench import load
from bench.model import Ground

KEEPALIVE = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", load.MAX_MESSAGE),
]
"""A careful user's: a dead connection is noticed after 15 s and not after as many minutes."""


def _files(folder: Path) -> tuple[bytes, bytes, bytes]:
    return tuple((folder / name).read_bytes() for name in ("ca.crt", "tndrl.key", "tndrl.crt"))  # type: ignore[return-value]


@asynccontextmanager
async def serving(folder: Path, host: str, params: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Serve the service and, if asked, an agent, at one port or many."""
    server = grpc.aio.server(options=load.SERVER_OPTIONS)
    load.register(server)
    if params.get("agent") or "endpoints" in params:
        from bench.peers import agent_server  # loads the SDK

        agent_server.add_to(server)
    ca, key, chain = _files(folder / "server")
    credentials = grpc.ssl_server_credentials([(key, chain)], ca, require_client_auth=True)
    ports = [server.add_secure_port(f"{host}:0", credentials) for _ in range(int(params.get("endpoints", 1)))]
    await server.start()
    try:
        yield {"port": ports[0], "ports": ports}
    finally:
        await server.stop(None)


def channel_to(ground: Ground, port: int | None = None) -> grpc.aio.Channel:
    """Return a channel on a connection of its own."""
    ca, key, chain = _files(ground.folder / "client")
    return grpc.aio.secure_channel(
        f"{ground.host}:{port or ground.port}",
        grpc.ssl_channel_credentials(ca, key, chain),
        options=[*KEEPALIVE, ("grpc.use_local_subchannel_pool", 1)],
    )


class Connection:
    """One channel, which is one connection."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._pinging = load.GrpcCaller(channel)

    def caller(self) -> load.GrpcCaller:
        """Return a caller on the same connection."""
        return load.GrpcCaller(self._channel)

    def agent(self) -> Any:
        """Return a caller of the agent on the same connection."""
        from bench.agent import GrpcAgent  # loads the SDK

        return GrpcAgent(self._channel)

    async def ping(self) -> None:
        """Make a small call: there is no Control here."""
        await self._pinging.unary()


@asynccontextmanager
async def connecting(ground: Ground) -> AsyncIterator[Connection]:
    """Return a channel; it connects with its first call."""
    async with channel_to(ground) as channel:
        yield Connection(channel)
