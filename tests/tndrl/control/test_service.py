"""The Control service over a real connection, answering for a node of the test's own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pki.spiffe import IdPattern
from support import streams
from tndrl.control.service import CONTROL_SERVICE, MAX_SHUTDOWN_TIMEOUT, ControlPlane
from tndrl.control.state import NodeState
from tndrl.transport.gate import CallGate
from tndrl.transport.grpc_server import GrpcServer
from tndrl.transport.interceptor import PeerInterceptor
from tndrl.transport.stream_type import StreamType
from tndrl.v1 import control_pb2, control_pb2_grpc


class View:
    """What the service needs of a node."""

    identity = "spiffe://tndrl/node/a"
    state = NodeState.BUSY
    uptime = 12.9
    active_tasks = 3

    def __init__(self) -> None:
        self.requests: list[tuple[bool, float | None, str]] = []
        self.refusal: str | None = None

    def metadata(self) -> Mapping[str, str]:
        return {"version": "1", "calls_total": "7"}

    def request_shutdown(self, *, graceful: bool, timeout: float | None, reason: str) -> str | None:
        self.requests.append((graceful, timeout, reason))
        return self.refusal


class Stage:
    """A Control plane behind a listener, and a channel to it."""

    def __init__(
        self, plane: ControlPlane, server: GrpcServer, view: View, channel: grpc.aio.Channel
    ) -> None:
        self.plane, self.server, self.view, self.channel = plane, server, view, channel
        self.stub = control_pb2_grpc.ControlServiceStub(channel)

    async def shutdown(self, **fields: object) -> control_pb2.ShutdownResponse:
        """Call Shutdown."""
        return await self.stub.Shutdown(control_pb2.ShutdownRequest(**fields), timeout=5)

    async def set_serving(self, serving: bool) -> None:
        """Set the state of health."""
        await self.server.run(lambda: self.plane.set_serving(serving=serving))


@asynccontextmanager
async def controlling(folder: Path, *admins: str) -> AsyncIterator[Stage]:
    """Yield the Control service, called as node "b"."""
    view = View()
    plane = ControlPlane(view, [IdPattern.parse(admin) for admin in admins])
    interceptors = [PeerInterceptor(CallGate())]
    server = GrpcServer(
        "control", folder / "c", plane.register, interceptors=interceptors, max_message=1 << 16
    )
    await server.start()
    try:
        async with streams.listening(folder) as (listener, _echo), streams.dialer("b") as dialer:
            listener.bind(StreamType.CONTROL, server.path)
            yield Stage(
                plane, server, view, dialer.channel(streams.target(listener.address), StreamType.CONTROL)
            )
    finally:
        await server.stop()


B = streams.node_id("b")


async def test_ping_returns_both_clocks(short_dir: Path) -> None:
    """The answer has the caller's timestamp unchanged, and the node's own in nanoseconds."""
    async with controlling(short_dir) as stage:
        before = time.time_ns()
        answer = await stage.stub.Ping(control_pb2.PingRequest(timestamp=-5), timeout=5)
    assert answer.ping_timestamp == -5
    assert before <= answer.pong_timestamp <= time.time_ns()


async def test_status_is_the_nodes(short_dir: Path) -> None:
    """GetStatus says what the node says of itself, in whole seconds."""
    async with controlling(short_dir) as stage:
        answer = await stage.stub.GetStatus(control_pb2.GetStatusRequest(), timeout=5)
    assert answer == control_pb2.GetStatusResponse(
        identity=streams.node_id("a"),
        state=control_pb2.NODE_STATE_BUSY,
        uptime_seconds=12,
        active_tasks=3,
        metadata={"version": "1", "calls_total": "7"},
    )


@pytest.mark.parametrize(
    "admins", [(), ("spiffe://tndrl/node/a",), ("spiffe://tndrl/*", "spiffe://other/node/b")]
)
async def test_only_admins_shut_down(short_dir: Path, admins: tuple[str, ...]) -> None:
    """Shutdown from anybody else is PERMISSION_DENIED with both names, and the node hears nothing (H2-16)."""
    async with controlling(short_dir, *admins) as stage:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stage.shutdown(graceful=True)
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert raised.value.details() == f"{B} is not in control.admins of spiffe://tndrl/node/a"
    assert stage.view.requests == []


@pytest.mark.parametrize("admin", [B, "spiffe://tndrl/node/*"])
async def test_an_admin_shuts_down(short_dir: Path, admin: str) -> None:
    """An admin's request reaches the node as it is."""
    async with controlling(short_dir, admin) as stage:
        answer = await stage.shutdown(graceful=True, timeout_seconds=7, reason="for today")
    assert answer == control_pb2.ShutdownResponse(accepted=True)
    assert stage.view.requests == [(True, 7, "for today")]


async def test_no_timeout_is_the_nodes_own(short_dir: Path) -> None:
    """Zero seconds mean the node's limit, and a reason that is not given names the caller."""
    async with controlling(short_dir, B) as stage:
        await stage.shutdown()
    assert stage.view.requests == [(False, None, f"asked to by {B}")]


async def test_a_refusal_has_its_reason(short_dir: Path) -> None:
    """A request that the node does not accept is answered, not failed."""
    async with controlling(short_dir, B) as stage:
        stage.view.refusal = "stopping already"
        answer = await stage.shutdown(graceful=True)
    assert answer == control_pb2.ShutdownResponse(accepted=False, rejection_reason="stopping already")


@pytest.mark.parametrize("seconds", [-1, MAX_SHUTDOWN_TIMEOUT + 1, 2**63 - 1, -(2**63)])
async def test_a_timeout_out_of_range(short_dir: Path, seconds: int) -> None:
    """A negative or huge timeout is INVALID_ARGUMENT, and nothing happens (LIFE-03)."""
    async with controlling(short_dir, B) as stage:
        with pytest.raises(grpc.aio.AioRpcError, match="timeout_seconds must be from 0 to 86400") as raised:
            await stage.shutdown(graceful=True, timeout_seconds=seconds)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert stage.view.requests == []


async def test_a_reason_is_made_safe(short_dir: Path) -> None:
    """What an admin writes goes to the log escaped and shortened (LIFE-17)."""
    async with controlling(short_dir, B) as stage:
        await stage.shutdown(reason="\x1b[2J\n" + "x" * 5000)
    ((_graceful, _timeout, reason),) = stage.view.requests
    assert reason.isascii()
    assert reason.isprintable()
    assert len(reason) <= 200


@pytest.mark.parametrize("name", ["", CONTROL_SERVICE])
async def test_health_follows_the_node(short_dir: Path, name: str) -> None:
    """Health answers on the Control stream, for the server and for Control, as it is told."""
    async with controlling(short_dir) as stage:
        stub = health_pb2_grpc.HealthStub(stage.channel)
        for serving, status in ((True, "SERVING"), (False, "NOT_SERVING")):
            await stage.set_serving(serving)
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) == status


async def test_reflection_lists_the_services(short_dir: Path) -> None:
    """Reflection answers on the Control stream with everything that does."""
    async with controlling(short_dir) as stage:
        stub = reflection_pb2_grpc.ServerReflectionStub(stage.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [answer async for answer in stub.ServerReflectionInfo(iter([request]), timeout=5)]
    names = {service.name for service in answers[0].list_services_response.service}
    reflecting = "grpc.reflection.v1alpha.ServerReflection"
    assert names == {"tndrl.v1.ControlService", "grpc.health.v1.Health", reflecting}
