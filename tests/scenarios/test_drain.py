"""A node that is told to stop: what runs ends well, what is new is refused, nothing lasts for ever (LIFE-01, 02)."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import grpc
import grpc.aio
import pytest

import tndrl
from scenarios.conftest import Scene
from support import nodes
from support.workshop import TYPE, Work, stub_of
from tndrl.control.state import NodeState
from tndrl.errors import ConnectionClosedError
from tndrl.node.trust import load_credentials
from tndrl.transport.codes import ErrorCode
from tndrl.transport.dialer import Target
from tndrl.transport.http2 import PREFACE, SETTINGS
from tndrl.v1 import control_pb2

MEBIBYTE = 1024 * 1024


async def draining(scene: Scene, *, reason: str = "", timeout: float = 30) -> asyncio.Task[bool]:
    """Tell the node to stop while calls are held, and return when it refuses new ones."""
    stopping = asyncio.create_task(scene.node.stop(timeout=timeout, reason=reason))
    while (await nodes.status(scene.peer)).state != control_pb2.NODE_STATE_DRAINING:
        pass
    return stopping


async def refusal(call: grpc.aio.UnaryUnaryCall) -> tuple[grpc.StatusCode, str]:
    """Return how a call failed."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code(), raised.value.details() or ""


async def test_every_kind_of_running_call_ends_well(scene: Scene) -> None:
    """Calls of all four kinds that run when the node is told to stop get all their answers."""
    stub, work = scene.stub(), Work(how="hold", material=b"oak", pieces=3)
    one, many, both = stub.Make(work), stub.MakeMany(work), stub.Exchange(iter([work]))
    gathered = stub.Collect(iter([work, work]))
    await scene.workshop.begun.reach(4)
    stopping = await draining(scene)
    scene.workshop.released.add()
    assert (await one).material == b"oak"
    assert (await gathered).material == b"oakoak"
    assert [len([piece async for piece in call]) for call in (many, both)] == [3, 1]
    assert await stopping


async def test_a_stream_that_runs_may_go_on_talking(scene: Scene) -> None:
    """While the node drains, messages of a running call pass in both directions."""
    call = scene.stub().Exchange()
    await call.initial_metadata()
    stopping = await draining(scene)
    for number in range(20):
        await call.write(Work(material=bytes([number])))
        assert (await call.read()).material == bytes([number])
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await stopping


async def test_new_calls_of_a_running_channel_are_refused(scene: Scene) -> None:
    """A channel that was there gets UNAVAILABLE with the reason for its next call."""
    stub = scene.stub()
    held = stub.Make(Work(how="hold"))
    await scene.workshop.begun.reach()
    stopping = await draining(scene, reason="for maintenance")
    code, details = await refusal(stub.Make(Work()))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "the node is draining: for maintenance" in details
    scene.workshop.released.add()
    assert await held
    assert await stopping
    assert scene.workshop.begun.count == 1


async def test_new_connections_get_control_only(scene: Scene, short_dir: Path) -> None:
    """Who connects to a draining node may call Control, and is refused with the reason elsewhere."""
    held = scene.stub().Make(Work(how="hold"))
    await scene.workshop.begun.reach()
    stopping = await draining(scene, reason="for maintenance")
    async with nodes.calling(short_dir / "c", "c", scene.node.address) as late:
        await nodes.ping(nodes.control(late))
        code, details = await refusal(stub_of(late).Make(Work()))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "the node is draining: for maintenance" in details
    scene.workshop.released.add()
    assert await held
    assert await stopping


async def test_goaway_reaches_the_other_end(scene: Scene, short_dir: Path) -> None:
    """On a stream that carries a service, GOAWAY with the reason comes as soon as the node drains."""
    credentials = load_credentials(nodes.config(short_dir / "b"))
    held = scene.stub().Make(Work(how="hold"))
    await scene.workshop.begun.reach()
    async with tndrl.MuxDialer(credentials) as dialer:
        host, port = scene.node.address.split(":")
        stream = await dialer.open_stream(Target(host, int(port)), TYPE)
        await stream.send(PREFACE + SETTINGS)
        seen = await stream.receive()
        stopping = await draining(scene, reason="for maintenance")
        while b"the node is draining: for maintenance" not in seen:
            more = await stream.receive()
            assert more, f"the stream ended without a reason: {seen!r}"
            seen += more
        scene.workshop.released.add()
        assert await held
        assert await stopping


async def test_connections_close_with_a_reason(scene: Scene) -> None:
    """When the node is done it closes each connection with SHUTDOWN and says why."""
    await nodes.ping(nodes.control(scene.peer))
    session = nodes.session_of(scene.peer)
    await scene.node.stop(reason="for maintenance")
    failure = await session.wait_closed()
    assert isinstance(failure, ConnectionClosedError)
    assert (failure.code, failure.application, failure.remote) == (ErrorCode.SHUTDOWN, True, True)
    assert failure.reason == "the node shuts down: for maintenance"
    assert "for maintenance" in str(scene.peer.failure)


async def test_last_answers_arrive_whole(scene: Scene) -> None:
    """Thirty megabytes of answers that are ready at once, when the drain ends, all arrive."""
    stubs = [scene.stub() for _ in range(4)]
    material = bytes(4 * MEBIBYTE - 1024)
    calls = [stub.Make(Work(how="hold", material=material)) for stub in stubs for _ in range(2)]
    await scene.workshop.begun.reach(len(calls))
    stopping = await draining(scene)
    scene.workshop.released.add()
    arrived = [
        len(getattr(each, "material", "")) for each in await asyncio.gather(*calls, return_exceptions=True)
    ]
    await stopping
    del stubs, calls
    assert arrived == [len(material)] * 8


async def test_a_slow_reader_gets_everything(scene: Scene) -> None:
    """A caller that reads only after its handler has returned loses nothing of the answer."""
    call = scene.stub().MakeMany(Work(how="hold", material=bytes(MEBIBYTE), pieces=1))
    await call.initial_metadata()
    stopping = await draining(scene)
    scene.workshop.released.add()
    await asyncio.wait([stopping], timeout=1.5)
    assert [len(piece.material) async for piece in call] == [MEBIBYTE]
    assert await stopping


async def test_a_reader_that_stalls_cannot_hold_the_node(scene: Scene) -> None:
    """A caller that reads nothing of an endless answer is cut at the deadline."""
    call = scene.stub().MakeMany(Work(material=bytes(MEBIBYTE), pieces=10_000))
    await call.initial_metadata()
    began = time.monotonic()
    stopping = await draining(scene, timeout=0.5)
    assert not await stopping
    assert time.monotonic() - began < 0.5 + 1
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        [len(piece.material) async for piece in call]
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_deadline_cuts_what_still_runs(scene: Scene) -> None:
    """When the drain limit passes, running calls are cancelled, fail with the reason, and the node has stopped."""
    held = scene.stub().Make(Work(how="hold"))
    await scene.workshop.begun.reach()
    began = time.monotonic()
    assert not await scene.node.stop(timeout=0.3, reason="for maintenance")
    assert 0.3 <= time.monotonic() - began < 0.3 + 1
    await scene.workshop.cancelled.reach()
    code, details = await refusal(held)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "for maintenance" in details
    assert scene.node.state is NodeState.STOPPED


async def test_a_second_request_without_grace_forces(scene: Scene) -> None:
    """A node that drains stops at once when it is asked again, without grace."""
    _held = scene.stub().Make(Work(how="hold"))
    await scene.workshop.begun.reach()
    stopping = await draining(scene)
    began = time.monotonic()
    assert not await scene.node.stop(graceful=False)
    assert time.monotonic() - began < 1
    assert not await stopping


async def test_a_handler_that_blocks_cannot_hold_the_node(scene: Scene) -> None:
    """At its deadline a node stops though a handler never gives its thread back."""
    call = scene.stub().MakeMany(Work(how="block", seconds=3, pieces=1))
    await call.initial_metadata()
    began = time.monotonic()
    assert not await scene.node.stop(timeout=0.3)
    took = time.monotonic() - began
    del call
    (left,) = (thread for thread in threading.enumerate() if thread.name == "tndrl 0x10")
    await asyncio.to_thread(left.join, 5)  # the handler gives it back in the end
    assert not left.is_alive()
    assert took < 0.3 + 1
