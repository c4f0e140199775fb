"""A node of ours, called with ordinary stubs."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tndrl
from bench import load
from bench.model import Ground
from pki.credentials import Credentials
from tndrl.v1 import control_pb2, control_pb2_grpc

if TYPE_CHECKING:
    from a2a.server.agent_execution import AgentExecutor


def configuration(
    folder: Path, name: str, params: Mapping[str, Any], host: str = "127.0.0.1"
) -> tndrl.Config:
    """Return the configuration of ``name``, with the limits that ``params`` changes."""
    place = folder / name
    file = place / "node.yaml"
    file.write_text(json.dumps({"limits": params.get("limits", {})}))
    flags: dict[str, Any] = {
        "server.addr": f"{host}:0",
        "pki.dir": str(place),
        "stateDir": str(folder / f"state-{name}"),
        "agent.store": "memory",
        "logLevel": "error",
    }
    if "datagram" in params:
        flags["transport.maxDatagram"] = params["datagram"]
    return tndrl.load_config(file, flags=flags, env={})


@asynccontextmanager
async def serving(folder: Path, host: str, params: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Run a node with the service, and with an agent if asked; or an agent behind many sockets."""
    config = configuration(folder, "server", params, host)
    if "endpoints" in params:
        async with _agents(folder, host, config, int(params["endpoints"])) as ports:
            yield {"ports": ports, "port": ports[0]}
        return
    node = tndrl.Node(config, executor=_replier() if params.get("agent") else None)
    node.add_service(load.TYPE, load.register)
    async with node:
        yield {"port": int(node.address.rpartition(":")[2]), "identity": node.identity}


@asynccontextmanager
async def _agents(folder: Path, host: str, config: tndrl.Config, count: int) -> AsyncIterator[list[int]]:
    """Serve one agent at ``count`` sockets, each with a listener of its own."""
    from tndrl.agent.service import AgentService
    from tndrl.node.trust import node_credentials, quic_settings
    from tndrl.transport.gate import CallGate

    credentials: Credentials = node_credentials(config)
    state = folder / "agents"
    state.mkdir(mode=0o700, exist_ok=True)
    service = AgentService(config, credentials.spiffe_id, f"{host}:4433", state, _replier())
    server = service.server(state / "a", CallGate(limits=config.limits), load.MAX_MESSAGE)
    await server.start()
    try:
        async with AsyncExitStack() as stack:
            ports = []
            for _ in range(count):
                listener = tndrl.MuxListener(credentials, host=host, port=0, settings=quic_settings(config))
                await stack.enter_async_context(listener)
                listener.bind(tndrl.StreamType.A2A, str(server.path), holds_calls=True)
                ports.append(int(listener.address.rpartition(":")[2]))
            yield ports
    finally:
        await server.stop()


def _replier() -> AgentExecutor:
    from bench.agent import Replier  # loads the SDK, which only nodes with an agent pay

    return Replier()


class Connection:
    """A verified connection of ours."""

    def __init__(self, peer: tndrl.Peer) -> None:
        self._peer = peer
        self._control = control_pb2_grpc.ControlServiceStub(peer.channel(tndrl.StreamType.CONTROL))

    def caller(self) -> load.GrpcCaller:
        """Return a caller on a stream of its own."""
        return load.GrpcCaller(self._peer.channel(load.TYPE))

    def agent(self) -> Any:
        """Return a caller of the agent."""
        from bench.agent import GrpcAgent

        return GrpcAgent(self._peer.channel(tndrl.StreamType.A2A))

    async def ping(self) -> None:
        """Call Ping of Control."""
        await self._control.Ping(control_pb2.PingRequest(timestamp=time.time_ns()), timeout=30)


@asynccontextmanager
async def connecting(ground: Ground) -> AsyncIterator[Connection]:
    """Connect as the client's identity."""
    config = configuration(ground.folder, "client", ground.params)
    async with tndrl.connect(f"{ground.host}:{ground.port}", config=config) as peer:
        yield Connection(peer)
