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
        add_agent(server)
    ca, key, chain = _files(folder / "server")
    credentials = grpc.ssl_server_credentials([(key, chain)], ca, require_client_auth=True)
    ports = [
        server.add_secure_port(f"{host}:0", credentials) for _ in range(int(params.get("endpoints", 1)))
    ]
    await server.start()
    try:
        yield {"port": ports[0], "ports": ports}
    finally:
        await server.stop(None)


def add_agent(server: grpc.aio.Server) -> None:
    """Add the agent with the SDK's own handlers."""
    from a2a.server.request_handlers import GrpcHandler
    from a2a.types import a2a_pb2_grpc

    a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(handler()), server)


def handler() -> Any:
    """Return the SDK's handler of the agent; tasks are kept in memory."""
    from a2a.server.request_handlers import DefaultRequestHandler
    from a2a.server.tasks import InMemoryTaskStore

    return DefaultRequestHandler(
        agent_executor=load.Replier(), task_store=InMemoryTaskStore(), agent_card=card()
    )


def card() -> Any:
    """Return the agent's card."""
    from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill

    return AgentCard(
        name="bench",
        description="answers at once",
        version="1",
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="reply", name="reply", description="answers", tags=["bench"])],
        supported_interfaces=[AgentInterface(url="x", protocol_binding="GRPC", protocol_version="1.0")],
    )


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

    def agent(self) -> load.GrpcAgent:
        """Return a caller of the agent on the same connection."""
        return load.GrpcAgent(self._channel)

    async def ping(self) -> None:
        """Make a small call: there is no Control here."""
        await self._pinging.unary()


@asynccontextmanager
async def connecting(ground: Ground) -> AsyncIterator[Connection]:
    """Return a channel; it connects with its first call."""
    async with channel_to(ground) as channel:
        yield Connection(channel)
