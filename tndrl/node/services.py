"""The gRPC servers of a node: Control, the agent and what users added, each on a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pki.spiffe import SpiffeId
from tndrl.config import Config
from tndrl.control.service import ControlPlane
from tndrl.transport.gate import CallGate, PeerCalls
from tndrl.transport.grpc_server import GrpcServer, Register
from tndrl.transport.idempotent import idempotent_methods
from tndrl.transport.interceptor import PeerInterceptor
from tndrl.transport.listener import MuxListener
from tndrl.transport.priority import Priority
from tndrl.transport.stream_type import StreamType, type_name

if TYPE_CHECKING:
    from a2a.server.agent_execution import AgentExecutor

    from tndrl.agent.service import AgentService

LAST_GRACE = 0.25
"""Seconds for the last answers to be written, once their handlers have returned."""

Endings = set[asyncio.Future[None]]
"""Servers that say GOAWAY, and wait for their peers to acknowledge it."""


@dataclass(frozen=True)
class Service:
    """A user's service, and how it is served."""

    register: Register
    max_message: int
    priority: Priority
    idempotent: frozenset[str]


class Services:
    """Starts the servers behind a listener, counts and bounds their calls, and ends them in order.

    ``on_change`` is called whenever :attr:`running` changes, from the threads of the servers.
    """

    def __init__(self, config: Config, executor: AgentExecutor | None, on_change: Callable[[], None]) -> None:
        self.added: dict[int, Service] = {}
        """What users added, by stream type."""
        self._config = config
        self._executor = executor
        self._on_change = on_change
        limits = config.limits
        shared = PeerCalls(limits)
        self._calls = CallGate(lambda _running: on_change(), limits=limits, peers=shared)
        self._agent_calls = CallGate(limits=limits, peers=shared)
        self._control_calls = CallGate(limits=limits)  # a busy service must not keep its caller from Control
        self._agent: AgentService | None = None
        self._control: GrpcServer | None = None
        self._servers: dict[int, GrpcServer] = {}

    @property
    def running(self) -> int:
        """Calls of users' services and tasks of the agent that run now. May be read from any thread."""
        return self._calls.running + (self._agent.running if self._agent is not None else 0)

    def stats(self) -> dict[str, int]:
        """Return every counter of calls."""
        return {
            "calls_running": self._calls.running,
            "calls_total": self._calls.total,
            "calls_refused": self._calls.refused,
            "control_calls_total": self._control_calls.total,
            "control_calls_refused": self._control_calls.refused,
            "agent_calls_running": self._agent_calls.running,
            "agent_calls_total": self._agent_calls.total,
            "agent_calls_refused": self._agent_calls.refused,
            "calls_held": self._calls.held + self._control_calls.held + self._agent_calls.held,
            "agent_messages_total": self._agent.total if self._agent is not None else 0,
        }

    async def start(
        self, listener: MuxListener, directory: Path, plane: ControlPlane, identity: SpiffeId, state: Path
    ) -> None:
        """Start every server with its socket in ``directory`` and bind it to its stream type, Control last.

        Raises what a registration raises, and ConfigError; :meth:`stop` ends those that run then.
        """
        for stream_type, service in self.added.items():
            server = GrpcServer(
                type_name(stream_type),
                directory / f"{stream_type:02x}",
                service.register,
                interceptors=[PeerInterceptor(self._calls, service.idempotent)],
                max_message=service.max_message,
                limits=self._config.limits,
            )
            await self._start(listener, stream_type, server, service.priority)
        if self._executor is not None or self._config.llm.provider is not None:
            await self._start(
                listener, StreamType.A2A, self._agent_server(listener, directory, identity, state)
            )
        self._control = GrpcServer(
            "control",
            directory / "control",
            plane.register,
            interceptors=[PeerInterceptor(self._control_calls, idempotent_methods(StreamType.CONTROL))],
            max_message=self._config.limits.control_message,
            limits=self._config.limits,
            patient=True,
        )
        await self._control.start()
        await self._control.run(lambda: plane.set_serving(serving=True))
        listener.bind(StreamType.CONTROL, self._control.path, holds_calls=True)

    async def refuse(self, listener: MuxListener, plane: ControlPlane, reason: str) -> None:
        """Let nothing new begin but calls of Control, whose health service says so from now on."""
        for gate in (self._calls, self._agent_calls):
            gate.close(reason)
        for stream_type in self._servers:
            await listener.refuse(stream_type, reason)
        assert self._control is not None
        await self._control.run(lambda: plane.set_serving(serving=False))

    async def end(self) -> Endings:
        """Let all servers but Control write their last answers and say GOAWAY; returns what goes on."""
        return await _end(self._servers.values())

    async def end_control(self, listener: MuxListener, reason: str) -> Endings:
        """Refuse calls of Control too, and end it as :meth:`end` does."""
        self._control_calls.close(reason)
        await listener.refuse(StreamType.CONTROL, reason)
        assert self._control is not None
        return await _end([self._control])

    async def stop(self) -> None:
        """Cancel what runs and end every server. Does nothing twice."""
        for server in (*self._servers.values(), *([self._control] if self._control else [])):
            await server.stop()

    def _agent_server(
        self, listener: MuxListener, directory: Path, identity: SpiffeId, state: Path
    ) -> GrpcServer:
        # Half a second and 40 MiB, which only nodes with an agent pay.
        from tndrl.agent.service import AgentService

        self._agent = AgentService(
            self._config, identity, listener.address, state, self._executor, self._on_change
        )
        return self._agent.server(directory / "agent", self._agent_calls, self._config.limits.message)

    async def _start(
        self,
        listener: MuxListener,
        stream_type: int,
        server: GrpcServer,
        priority: Priority | None = None,
    ) -> None:
        await server.start()
        self._servers[stream_type] = server
        listener.bind(stream_type, server.path, holds_calls=True, priority=priority)


async def _end(servers: Iterable[GrpcServer]) -> Endings:
    """Drain servers for :data:`LAST_GRACE` seconds; returns what goes on until connections are closed.

    grpcio waits for every peer to acknowledge its GOAWAY, 20 s for one that has vanished.
    """
    endings: Endings = {asyncio.ensure_future(server.drain(LAST_GRACE)) for server in servers}
    if endings:
        await asyncio.wait(endings, timeout=LAST_GRACE)
    return endings
