"""Control between makes: ping, status, shutdown, several channels, and how a node's end is seen."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest

from interop.conftest import Both
from support import grpc_testing, nodes, streams
from tndrl.errors import ConnectionClosedError
from tndrl.transport.codes import ErrorCode
from tndrl.v1 import control_pb2

GO_CALLS = pytest.mark.interop("Go", "Go calls Python")
PYTHON_CALLS = pytest.mark.interop("Go", "Python calls Go")


@GO_CALLS
async def test_go_asks(both: Both) -> None:
    """Ping and GetStatus."""
    async with both.serving() as node:
        channel = await both.go_channel(node, 0x01)
        answer = await both.go.do("ping", chan=channel)
        assert answer["same"]
        assert answer["later"]
        status = await both.go.do("status", chan=channel)
        assert (status["identity"], status["state"]) == (node.identity, "NODE_STATE_READY")


@PYTHON_CALLS
async def test_python_asks(both: Both) -> None:
    """Ping and GetStatus."""
    served = await both.go_serves()
    async with both.calling(served["addr"]) as peer:
        await nodes.ping(nodes.control(peer))
        assert (await nodes.status(peer)).identity == peer.identity == served["identity"]


@GO_CALLS
async def test_go_commands(both: Both) -> None:
    """Shutdown, denied to a guest and granted to an admin."""
    async with both.serving(control__admins=["spiffe://tndrl/node/boss"]) as node:
        guest = await both.go_channel(node, 0x01)
        denied = await both.go.try_to("command", chan=guest)
        assert denied["grpc"]["code"] == "PermissionDenied"
        assert node.state.name == "READY"
        boss = await both.go_channel(node, 0x01, name="boss")
        assert (await both.go.do("command", chan=boss, graceful=True, reason="enough"))["accepted"]
        assert await node.wait_stopped()


@PYTHON_CALLS
async def test_python_commands(both: Both) -> None:
    """Shutdown, denied to a guest and granted to an admin."""
    served = await both.go_serves(admins=["spiffe://tndrl/node/boss"])
    async with both.calling(served["addr"]) as guest, both.calling(served["addr"], "boss") as boss:
        with pytest.raises(grpc.aio.AioRpcError) as denied:
            await nodes.control(guest).Shutdown(control_pb2.ShutdownRequest())
        assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert (await nodes.control(boss).Shutdown(control_pb2.ShutdownRequest(graceful=True))).accepted
        await both.go.do("stop", name=served["server"])


@GO_CALLS
async def test_go_channels(both: Both) -> None:
    """Several channels share one connection."""
    async with both.serving() as node:
        conn = (await both.go_dials(node))["conn"]
        channels = [await both.go.channel(conn, kind) for kind in (0x01, grpc_testing.TYPE, 0x01, 0x01)]
        await asyncio.gather(
            *(both.go.do("ping", chan=channel) for channel in channels if channel != channels[1])
        )
        await both.go.do("grpc", chan=channels[1], case="large_unary")
        stats = node.stats()
        assert (stats["connections_open"], stats["streams_open"]) == (1, 4)


@PYTHON_CALLS
async def test_python_channels(both: Both) -> None:
    """Several channels share one connection."""
    served = await both.go_serves()
    async with both.calling(served["addr"]) as peer:
        controls = [nodes.control(peer) for _ in range(3)]
        await asyncio.gather(*(nodes.ping(control) for control in controls))
        channel = peer.channel(grpc_testing.TYPE)
        await grpc_testing.CASES["large_unary"](channel)
        stats = peer._dialer.stats()
        assert (stats["connections_open"], stats["streams_open"]) == (1, 4)


@GO_CALLS
async def test_go_meets_an_unknown_type(both: Both) -> None:
    """A stream of an unknown type is reset with its code; the connection lives on."""
    async with both.serving() as node:
        conn = (await both.go_dials(node))["conn"]
        reset = (await both.go.try_to("raw", conn=conn, text="\x7f"))["reset"]
        assert reset == {"code": ErrorCode.UNKNOWN_STREAM_TYPE, "remote": True}
        await both.go.do("ping", chan=await both.go.channel(conn, 0x01))


@PYTHON_CALLS
async def test_python_meets_an_unknown_type(both: Both) -> None:
    """A stream of an unknown type is reset with its code; the connection lives on."""
    served = await both.go_serves()
    async with both.calling(served["addr"]) as peer:
        with pytest.raises(grpc.aio.AioRpcError, match="UNKNOWN_STREAM_TYPE"):
            await grpc_testing.CASES["empty_unary"](peer.channel(0x7F))
        await nodes.ping(nodes.control(peer))


@GO_CALLS
async def test_go_sees_a_graceful_stop(both: Both) -> None:
    """A call that runs ends well, a new one is refused, and the connection ends with SHUTDOWN and the reason."""
    async with both.serving() as node:
        conn = (await both.go_dials(node))["conn"]
        channel = await both.go.channel(conn, grpc_testing.TYPE)
        await both.go.do("grpc", chan=channel, case="empty_unary")
        running = asyncio.create_task(both.go.do("watch", chan=channel, times=20, bytes=50_000))
        await streams.until(lambda: node.active_tasks > 0)
        stopping = asyncio.create_task(node.stop(reason="maintenance"))
        await streams.until(lambda: node.state.name == "DRAINING")
        late = await both.go.try_to("fetch", chan=channel, bytes=1, timeout=0.3)
        assert late["grpc"]["code"] in ("Unavailable", "DeadlineExceeded")
        assert (await running)["times"] == 20
        assert await stopping
        close = (await both.go.try_to("wait", conn=conn, timeout=5))["close"]
        assert (close["application"], close["code"]) == (True, ErrorCode.SHUTDOWN)
        assert "maintenance" in close["reason"]


@PYTHON_CALLS
async def test_python_sees_a_graceful_stop(both: Both) -> None:
    """A call that runs ends well, and the connection ends with SHUTDOWN and the reason."""
    served = await both.go_serves()
    async with both.calling(served["addr"]) as peer:
        stub = grpc_testing.services.TestServiceStub(peer.channel(grpc_testing.TYPE))
        sizes = [grpc_testing.messages.ResponseParameters(size=10, interval_us=20_000)] * 20
        call = stub.StreamingOutputCall(
            grpc_testing.messages.StreamingOutputCallRequest(response_parameters=sizes)
        )
        answers = aiter(call)
        await anext(answers)
        stopping = asyncio.create_task(
            both.go.do("stop", name=served["server"], graceful=True, reason="maintenance")
        )
        assert len([answer async for answer in answers]) == 19
        assert await call.code() is grpc.StatusCode.OK
        await stopping
        session = await peer._dialer.dial(peer._target) if peer.failure is None else None
        failure = peer.failure if session is None else await session.wait_closed()
        assert isinstance(failure, ConnectionClosedError)
        assert (failure.code, failure.application, failure.reason) == (
            ErrorCode.SHUTDOWN,
            True,
            "maintenance",
        )
