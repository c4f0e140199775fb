"""Networks between makes: long silence, much data, loss, changed addresses, restarts, versions of QUIC."""

from __future__ import annotations

import asyncio

import pytest

from interop.conftest import Both
from support import certs, grpc_testing, nodes, processes, streams
from support.link import Link, UdpLink
from tndrl.transport.tickets import MemoryTickets

GO_CALLS = pytest.mark.interop("Go", "Go calls Python")
PYTHON_CALLS = pytest.mark.interop("Go", "Python calls Go")

MUCH = 30_000_000
CHUNK = 64 * 1024


async def transfer(channel: object, size: int) -> None:
    """Send and fetch so many bytes over a channel of ours."""
    stub, messages = grpc_testing.services.TestServiceStub(channel), grpc_testing.messages
    whole, rest = divmod(size, CHUNK)

    async def chunks() -> object:
        for length in [CHUNK] * whole + [rest]:
            yield messages.StreamingInputCallRequest(payload=grpc_testing.payload(length))

    assert (await stub.StreamingInputCall(chunks())).aggregated_payload_size == size
    wanted = [messages.ResponseParameters(size=length) for length in [CHUNK] * whole + [rest]]
    request = messages.StreamingOutputCallRequest(response_parameters=wanted)
    answers = stub.StreamingOutputCall(request)
    assert sum([len(answer.payload.body) async for answer in answers]) == size


async def go_transfer(both: Both, channel: str, size: int) -> None:
    """Send and fetch so many bytes over a channel of the Go peer."""
    for op in ("upload", "fetch"):
        assert (await both.go.do(op, chan=channel, bytes=size))["counted"] == size


@GO_CALLS
async def test_go_moves_much(both: Both) -> None:
    """30 MB each way."""
    async with both.serving() as node:
        await go_transfer(both, await both.go_channel(node, grpc_testing.TYPE), MUCH)


@PYTHON_CALLS
async def test_python_moves_much(both: Both) -> None:
    """30 MB each way."""
    served = await both.go_serves()
    async with both.calling(served["addr"]) as peer:
        await transfer(peer.channel(grpc_testing.TYPE), MUCH)


LOSSY = {"loss": 0.3, "burst": 3}


@GO_CALLS
async def test_go_loses_packets(both: Both) -> None:
    """30 % loss in bursts of three: a handshake, and 30 kB each way."""
    async with both.serving() as node, UdpLink(node.address, Link(1, **LOSSY)) as link:
        channel = await both.go_channel(link.address, grpc_testing.TYPE)
        await go_transfer(both, channel, 30_000)


@PYTHON_CALLS
async def test_python_loses_packets(both: Both) -> None:
    """30 % loss in bursts of three: a handshake, and 30 kB each way."""
    served = await both.go_serves()
    async with (
        UdpLink(served["addr"], Link(5, **LOSSY)) as link,
        both.calling(link.address, transport__connectTimeout="60") as peer,
    ):
        await transfer(peer.channel(grpc_testing.TYPE), 30_000)


@GO_CALLS
async def test_go_is_rebound(both: Both) -> None:
    """A NAT gives a client another port and then another address in the middle of a call."""
    async with both.serving() as node, UdpLink(node.address, Link(3)) as link:
        channel = await both.go_channel(link.address, grpc_testing.TYPE)
        running = asyncio.create_task(both.go.do("watch", chan=channel, times=200, bytes=5000))
        for host in (None, "127.0.0.2"):
            await both.go.do("fetch", chan=channel, bytes=100_000)
            link.rebind(host)
        await both.go.do("fetch", chan=channel, bytes=100_000)
        assert (await running)["times"] == 200
        assert node.stats()["connections_open"] == 1


@PYTHON_CALLS
async def test_python_is_rebound(both: Both) -> None:
    """A NAT gives a client another port and then another address in the middle of a call."""
    served = await both.go_serves()
    async with UdpLink(served["addr"], Link(4)) as link, both.calling(link.address) as peer:
        channel = peer.channel(grpc_testing.TYPE)
        running = asyncio.create_task(transfer(channel, MUCH // 5))
        for host in (None, "127.0.0.2"):
            await grpc_testing.CASES["large_unary"](channel)
            link.rebind(host)
        await grpc_testing.CASES["large_unary"](channel)
        await running


@GO_CALLS
async def test_go_migrates(both: Both) -> None:
    """A client that moves to another socket by itself keeps its connection and its call."""
    async with both.serving() as node:
        conn = (await both.go_dials(node))["conn"]
        channel = await both.go.channel(conn, grpc_testing.TYPE)
        running = asyncio.create_task(both.go.do("watch", chan=channel, times=100, bytes=5000))
        await both.go.do("migrate", conn=conn, timeout=5)
        assert (await running)["times"] == 100
        assert node.stats()["connections_open"] == 1


@pytest.mark.parametrize("version", ["1", "2"])
@GO_CALLS
async def test_go_chooses_a_version(both: Both, version: str) -> None:
    """QUIC version."""
    async with both.serving() as node:
        dialled = await both.go_dials(node, version=version)
        assert dialled["version"] == f"v{version}"
        await both.go.do("ping", chan=await both.go.channel(dialled["conn"], 0x01))


@PYTHON_CALLS
async def test_go_restarts(both: Both) -> None:
    """A node that comes back is found again by the same channel."""
    served = await both.go_serves()
    async with both.calling(served["addr"]) as peer:
        control = nodes.control(peer)
        await nodes.ping(control)
        await both.go.do("stop", name=served["server"])
        await both.go_serves(addr=served["addr"])
        await nodes.ping(control)


@GO_CALLS
async def test_python_restarts(both: Both) -> None:
    """A node killed and started again tells its old callers (RFC 9000 section 10.3) and serves new connections."""
    folder = both.folder / "node"
    async with processes.serving(folder, certs.node_leaf("a"), command=processes.SERVE) as killed:
        address = killed.address
        conn = (await both.go_dials(address))["conn"]
        channel = await both.go.channel(conn, 0x01)
        await both.go.do("ping", chan=channel)
        killed.process.kill()
        await killed.process.wait()
    async with processes.serving(folder, command=processes.SERVE, server__addr=address):
        lost = await both.go.try_to("ping", chan=channel)
        assert lost["grpc"]["code"] == "Unavailable"
        assert (await both.go.try_to("wait", conn=conn, timeout=5))["close"] == {"stateless_reset": True}
        await both.go.do("ping", chan=await both.go_channel(address, 0x01))


@pytest.mark.interop("Go", "both")
async def test_an_idle_minute(both: Both) -> None:
    """An idle minute, and then a call."""
    served = await both.go_serves()
    async with both.serving() as node, both.calling(served["addr"], "c") as peer:
        channel = await both.go_channel(node, 0x01)
        control = nodes.control(peer)
        for _ in range(2):
            await both.go.do("ping", chan=channel)
            await nodes.ping(control)
            await asyncio.sleep(0 if _ else 61)  # the silence is what is tried
        assert node.stats()["handshakes_completed"] == 1


@GO_CALLS
async def test_go_resumes(both: Both) -> None:
    """A second connection resumes the session of the first; a call in its early data is answered."""
    async with both.serving() as node:
        first = await both.go_dials(node, tickets="go")
        await both.go.do("ping", chan=await both.go.channel(first["conn"], 0x01))
        await both.go.do("close", conn=first["conn"])
        second = await both.go_dials(node, tickets="go")
        await both.go.do("ping", chan=await both.go.channel(second["conn"], 0x01))
        assert (first["resumed"], second["resumed"]) == (False, True)
        assert node.stats()["tickets_accepted"] == 1
        assert second["peer"] == node.identity


@PYTHON_CALLS
async def test_python_resumes(both: Both) -> None:
    """A second connection resumes the session of the first."""
    served = await both.go_serves()
    target, store = streams.target(served["addr"], served["identity"]), MemoryTickets(10)
    for _ in range(2):
        async with streams.dialer(tickets=store) as dialer:
            session = await dialer.dial(target)
            await session.wait_confirmed()
            await streams.until(lambda: len(store) > 0, session.ping)
            await grpc_testing.CASES["empty_unary"](dialer.channel(target, grpc_testing.TYPE))
            stats = dialer.stats()
    assert stats["tickets_accepted"] == 1
