"""grpc.aio over a bare unix socket: the limit of grpcio itself, without TLS and without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bench import load
from bench.model import Ground
from bench.peers.tcp import Connection


@asynccontextmanager
async def serving(folder: Path, _host: str, _params: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Serve the service."""
    server = grpc.aio.server(options=load.SERVER_OPTIONS)
    load.register(server)
    path = folder / "s"
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield {"port": 0, "path": str(path)}
    finally:
        await server.stop(None)


@asynccontextmanager
async def connecting(ground: Ground) -> AsyncIterator[Connection]:
    """Return a channel; it connects with its first call."""
    options = [("grpc.max_receive_message_length", load.MAX_MESSAGE), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"unix:{ground.served['path']}", options=options) as channel:
        yield Connection(channel)
