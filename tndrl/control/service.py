"""``tndrl.v1.ControlService``, with gRPC health and reflection beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection

from pki.errors import shown
from pki.spiffe import IdPattern
from tndrl.control.state import NodeState
from tndrl.transport.registry import peer_identity
from tndrl.v1 import control_pb2, control_pb2_grpc

CONTROL_SERVICE = control_pb2.DESCRIPTOR.services_by_name["ControlService"].full_name

MAX_SHUTDOWN_TIMEOUT = 24 * 3600
"""Seconds of drain that a Shutdown call may ask for."""


class NodeView(Protocol):
    """What the Control service needs of its node. It is used from the service's own thread."""

    @property
    def identity(self) -> str:
        """The node's SPIFFE ID."""

    @property
    def state(self) -> NodeState:
        """The state now."""

    @property
    def uptime(self) -> float:
        """Seconds since the start."""

    @property
    def active_tasks(self) -> int:
        """Calls of users' services that run now."""

    def metadata(self) -> Mapping[str, str]:
        """Everything else worth knowing, as text."""

    def request_shutdown(self, *, graceful: bool, timeout: float | None, reason: str) -> str | None:
        """Begin to stop; returns None if accepted, else why not. ``timeout`` None is the node's own limit."""


class ControlService(control_pb2_grpc.ControlServiceServicer):
    """Answers for one node. Shutdown is for ``admins`` only; everything else for whoever may connect."""

    def __init__(self, node: NodeView, admins: Sequence[IdPattern]) -> None:
        self._node = node
        self._admins = tuple(admins)

    async def Ping(  # noqa: N802 - the name is the wire's
        self, request: control_pb2.PingRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> control_pb2.PingResponse:
        """Return the caller's timestamp and ours."""
        return control_pb2.PingResponse(ping_timestamp=request.timestamp, pong_timestamp=time.time_ns())

    async def GetStatus(  # noqa: N802 - the name is the wire's
        self, request: control_pb2.GetStatusRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> control_pb2.GetStatusResponse:
        """Describe the node as it is now."""
        node = self._node
        return control_pb2.GetStatusResponse(
            identity=node.identity,
            state=control_pb2.NodeState.ValueType(node.state.value),
            uptime_seconds=int(node.uptime),
            active_tasks=node.active_tasks,
            metadata=node.metadata(),
        )

    async def Shutdown(  # noqa: N802 - the name is the wire's
        self, request: control_pb2.ShutdownRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> control_pb2.ShutdownResponse:
        """Begin to stop, if the caller is an admin; the answer comes before the node closes its connections."""
        caller = peer_identity(context).spiffe_id
        if not any(pattern.matches(caller) for pattern in self._admins):
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                f"{caller} is not in control.admins of {self._node.identity}",
            )
        if not 0 <= request.timeout_seconds <= MAX_SHUTDOWN_TIMEOUT:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"timeout_seconds must be from 0 to {MAX_SHUTDOWN_TIMEOUT}, not {request.timeout_seconds}",
            )
        reason = shown(request.reason) if request.reason else f"asked to by {caller}"
        refusal = self._node.request_shutdown(
            graceful=request.graceful, timeout=request.timeout_seconds or None, reason=reason
        )
        return control_pb2.ShutdownResponse(accepted=refusal is None, rejection_reason=refusal or "")


class ControlPlane:
    """Everything that answers on the Control stream."""

    def __init__(self, node: NodeView, admins: Sequence[IdPattern]) -> None:
        self._service = ControlService(node, admins)
        self._health: HealthServicer | None = None

    def register(self, server: grpc.aio.Server) -> None:
        """Add Control, health and reflection to a server. Call it on the server's own loop."""
        self._health = HealthServicer()
        control_pb2_grpc.add_ControlServiceServicer_to_server(self._service, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (CONTROL_SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME), server
        )

    async def set_serving(self, *, serving: bool) -> None:
        """Tell health's watchers. Call it on the server's own loop."""
        assert self._health is not None
        status = health_pb2.HealthCheckResponse.ServingStatus
        for name in ("", CONTROL_SERVICE):
            await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)
