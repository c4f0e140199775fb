"""The a2a-sdk's JSON-RPC over HTTPS with certificates of both sides, served by uvicorn, called with httpx."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from a2a.client.transports.jsonrpc import JsonRpcTransport
from a2a.server.routes import create_jsonrpc_routes
from starlette.applications import Starlette

from bench import agent
from bench.model import Ground
from bench.peers.agent_server import card, handler


@asynccontextmanager
async def serving(folder: Path, host: str, params: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Serve the agent at one port or many."""
    place = folder / "server"
    app = Starlette(routes=create_jsonrpc_routes(handler(), "/"))
    config = uvicorn.Config(
        app,
        ssl_certfile=str(place / "tndrl.crt"),
        ssl_keyfile=str(place / "tndrl.key"),
        ssl_ca_certs=str(place / "ca.crt"),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
        log_level="error",
        lifespan="off",
    )
    sockets = [_listening(host) for _ in range(int(params.get("endpoints", 1)))]
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        serving_task = group.create_task(server.serve(sockets=sockets))
        while not server.started:  # noqa: ASYNC110  # it tells nobody when it is
            await asyncio.sleep(0.01)
        ports = [sock.getsockname()[1] for sock in sockets]
        try:
            yield {"port": ports[0], "ports": ports}
        finally:
            server.should_exit = server.force_exit = True
            await serving_task


def _listening(host: str) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, 0))
    return sock


class _Agent:
    """Calls the agent."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._transport = JsonRpcTransport(client, card(), url)

    async def prompt(self) -> None:
        """Send a message and take the answer."""
        agent.check(await self._transport.send_message(agent.message("hello")))

    async def bulk(self, chunks: int) -> AsyncIterator[int]:
        """Follow a task of so many chunks to its end; yields the bytes of each as it comes."""
        async for event in self._transport.send_message_streaming(agent.message(f"bulk {chunks}")):
            yield agent.size_of(event)


class Connection:
    """An HTTP client with a connection of its own for each agent."""

    def __init__(self, client: httpx.AsyncClient, ground: Ground) -> None:
        self._client = client
        self._ground = ground

    def caller(self) -> Any:
        """There is none: this peer carries agents only."""
        raise NotImplementedError("JSON-RPC carries agents only")

    def agent(self, port: int | None = None) -> _Agent:
        """Return a caller of the agent at a port."""
        return _Agent(self._client, f"https://{self._ground.host}:{port or self._ground.port}/")

    async def ping(self) -> None:
        """Prompt: there is nothing smaller."""
        await self.agent().prompt()


@asynccontextmanager
async def connecting(ground: Ground) -> AsyncIterator[Connection]:
    """Return a client; it connects with its first call."""
    place = ground.folder / "client"
    context = ssl.create_default_context(cafile=str(place / "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(place / "tndrl.crt", place / "tndrl.key")
    limits = httpx.Limits(max_connections=None)
    headers = {"A2A-Version": "1.0"}
    async with httpx.AsyncClient(verify=context, limits=limits, timeout=60, headers=headers) as client:
        yield Connection(client, ground)
