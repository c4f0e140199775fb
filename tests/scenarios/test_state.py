"""What a node says of itself while it starts, works, drains and has stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import tndrl
from scenarios.conftest import Scene
from support import nodes
from support.workshop import TYPE, Work, Workshop, stub_of
from tndrl.control.state import NodeState
from tndrl.v1 import control_pb2

Serving = health_pb2.HealthCheckResponse.ServingStatus
SERVICES = ("", "tndrl.v1.ControlService")


def health(scene: Scene) -> health_pb2_grpc.HealthStub:
    """Return a stub of gRPC's health service."""
    return health_pb2_grpc.HealthStub(scene.peer.channel(tndrl.StreamType.CONTROL))


async def drain(scene: Scene) -> asyncio.Task[bool]:
    """Begin a call that is held, tell the node to stop and wait until it says so."""
    watch = health(scene).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == Serving.SERVING
    _call = scene.stub().Make(Work(how="hold"))
    await scene.workshop.begun.reach()
    stopping = asyncio.create_task(scene.node.stop())
    assert (await watch.read()).status == Serving.NOT_SERVING
    return stopping


async def test_starting_and_stopped(short_dir: Path) -> None:
    """A node is STARTING before it is entered, READY inside and STOPPED afterwards."""
    node = tndrl.Node(nodes.config(short_dir))
    assert node.state is NodeState.STARTING
    async with node:
        assert node.state is NodeState.READY
    assert node.state is NodeState.STOPPED


async def test_services_start_before_ready(short_dir: Path) -> None:
    """While its services are registered the node is STARTING still."""
    seen = []
    node = tndrl.Node(nodes.config(short_dir))
    node.add_service(0x10, lambda _server: seen.append(node.state))
    async with node:
        assert seen == [NodeState.STARTING]


async def test_ready(scene: Scene) -> None:
    """GetStatus of a node with nothing to do says READY, who it is and how many tasks run: none."""
    status = await nodes.status(scene.peer)
    assert (status.state, status.active_tasks) == (control_pb2.NODE_STATE_READY, 0)
    assert status.identity == "spiffe://tndrl/node/a"
    assert status.metadata["version"] == tndrl.__version__
    assert status.metadata["address"] == scene.node.address


@pytest.mark.parametrize("calls", [1, 30])
async def test_busy(scene: Scene, calls: int) -> None:
    """While calls of users' services run the node is BUSY and counts them; then it is READY again."""
    stub = scene.stub()
    running = [stub.Make(Work(how="hold")) for _ in range(calls)]
    await scene.workshop.begun.reach(calls)
    status = await nodes.status(scene.peer)
    assert (status.state, status.active_tasks) == (control_pb2.NODE_STATE_BUSY, calls)
    scene.workshop.released.add()
    await asyncio.gather(*running)
    status = await nodes.status(scene.peer)
    assert (status.state, status.active_tasks) == (control_pb2.NODE_STATE_READY, 0)


async def test_calls_that_end_badly_are_not_counted_on(scene: Scene) -> None:
    """A call that fails and one that is cancelled leave the count as they found it."""
    stub = scene.stub()
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Make(Work(how="fail"))
    held = stub.MakeMany(Work(how="hold", pieces=1))
    await held.initial_metadata()
    held.cancel()
    await scene.workshop.cancelled.reach()
    assert (await nodes.status(scene.peer)).active_tasks == 0


async def test_control_calls_are_no_tasks(scene: Scene) -> None:
    """Calls of the Control stream do not make a node BUSY."""
    watch = health(scene).Watch(health_pb2.HealthCheckRequest())
    await watch.read()
    status = await nodes.status(scene.peer)
    assert (status.state, status.active_tasks) == (control_pb2.NODE_STATE_READY, 0)
    watch.cancel()


async def test_draining(scene: Scene) -> None:
    """A node that finishes what runs says DRAINING and how much that is."""
    stopping = await drain(scene)
    status = await nodes.status(scene.peer)
    assert (status.state, status.active_tasks) == (control_pb2.NODE_STATE_DRAINING, 1)
    scene.workshop.released.add()
    assert await stopping
    assert scene.node.state is NodeState.STOPPED


@pytest.mark.parametrize("service", SERVICES)
async def test_health_check(scene: Scene, service: str) -> None:
    """Health says SERVING for the node as a whole and for Control, and NOT_SERVING while draining."""
    request = health_pb2.HealthCheckRequest(service=service)
    assert (await health(scene).Check(request)).status == Serving.SERVING
    stopping = await drain(scene)
    assert (await health(scene).Check(request)).status == Serving.NOT_SERVING
    scene.workshop.released.add()
    await stopping


async def test_health_of_an_unknown_service(scene: Scene) -> None:
    """Health of a service that is not here is NOT_FOUND."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await health(scene).Check(health_pb2.HealthCheckRequest(service="nothing.v1.Nothing"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection(scene: Scene) -> None:
    """Reflection lists what the Control stream serves, and describes it."""

    async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        yield reflection_pb2.ServerReflectionRequest(file_containing_symbol="tndrl.v1.ControlService")

    channel = scene.peer.channel(tndrl.StreamType.CONTROL)
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(requests())
    listed, described = [answer async for answer in call]
    names = {service.name for service in listed.list_services_response.service}
    assert {"tndrl.v1.ControlService", "grpc.health.v1.Health"} <= names
    assert b"ShutdownRequest" in described.file_descriptor_response.file_descriptor_proto[0]


async def test_nobody_is_let_in_before_the_services_are_there(short_dir: Path) -> None:
    """Whoever calls while a node starts waits for it, and then finds every service."""
    started, starting, found = threading.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def register(server: grpc.aio.Server) -> None:
        loop.call_soon_threadsafe(starting.set)
        started.wait(10)
        Workshop().add_to(server)

    node = tndrl.Node(nodes.config(short_dir / "a"))
    node.add_service(TYPE, register)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(node.serve())

        async def call() -> None:
            async with nodes.calling(short_dir / "b", "b", node.address) as peer:
                await stub_of(peer).Make(Work())
            found.set()

        await starting.wait()
        calling = tasks.create_task(call())
        await asyncio.wait({calling}, timeout=0.3)
        assert not calling.done()
        started.set()
        await calling
        running.cancel()
    assert found.is_set()
