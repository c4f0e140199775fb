"""A peer that says nothing any more: its connection ends in the agreed time, and its calls with it (QUIC-21)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

import tndrl
from support import nodes, streams
from support.link import Direction, Link, UdpLink
from support.workshop import TYPE, Work, Workshop, stub_of
from tndrl.errors import ConnectionClosedError
from tndrl.transport.session import Session

IDLE = 1.5
"""Seconds of silence that the node allows; the caller would allow a minute."""


@asynccontextmanager
async def linked(folder: Path) -> AsyncIterator[tuple[tndrl.Node, Workshop, tndrl.Peer, UdpLink]]:
    """Yield a node with the workshop, and a caller behind a link."""
    workshop = Workshop()
    node = tndrl.Node(nodes.config(folder / "a", transport__idleTimeout=IDLE))
    node.add_service(TYPE, workshop.add_to)
    async with node, UdpLink(node.address, Link(1)) as link:
        known = [{"name": "node", "addr": link.address, "identity": node.identity}]
        async with nodes.calling(folder / "b", "b", "node", peers=known) as peer:
            await peer.confirmed()
            yield node, workshop, peer, link
            await node.stop(graceful=False)


def session_at(node: tndrl.Node) -> Session:
    """Return the node's side of its one connection."""
    (session,) = node._listener.sessions
    return session


def stop_keepalive(*sessions: Session) -> None:
    """Let connections say nothing of their own accord."""
    for session in sessions:
        assert session.liveness._keepalive is not None
        session.liveness._keepalive.cancel()


async def ended(session: Session) -> tuple[float, ConnectionClosedError]:
    """Wait for the end of a connection; return how long its peer had been silent, and why it ended."""
    failure = await session.wait_closed()
    assert isinstance(failure, ConnectionClosedError)
    assert failure.code_name == "idle timeout"
    return asyncio.get_running_loop().time() - session.heard_at, failure


@pytest.mark.serial
@pytest.mark.parametrize("dark", [[Direction.TO_NODE], [Direction.TO_CLIENT], list(Direction)])
async def test_a_peer_vanishes(short_dir: Path, dark: list[Direction]) -> None:
    """Whichever way nothing arrives, both sides end the connection in the agreed time, and every call with it."""
    async with linked(short_dir) as (node, workshop, peer, link), asyncio.timeout(20):
        stub, session = stub_of(peer), nodes.session_of(peer)
        calls = [stub.Make(Work(how="hold")) for _ in range(5)]
        calls += [stub.MakeMany(Work(how="hold", pieces=1)) for _ in range(5)]
        await workshop.begun.reach(10)
        theirs = session_at(node)
        for direction in dark:
            link.link.lines[direction].darken(math.inf)
        ending = asyncio.ensure_future(ended(theirs))
        for side, end in ((session, ended(session)), (theirs, ending)):
            probe_timeout = side._quic._loss.get_probe_timeout()
            silent, failure = await end
            assert failure.reason == f"nothing heard for {IDLE:g} s"
            # What is sent after the last word of the peer begins the time anew, once (RFC 9000 section 10.1).
            assert IDLE <= silent <= IDLE + side.keepalive + probe_timeout + 0.3
        assert [await call.code() for call in calls] == [grpc.StatusCode.UNAVAILABLE] * 10
        assert "nothing heard" in await calls[0].details()
        await workshop.cancelled.reach(10)


@pytest.mark.serial
async def test_without_keepalive(short_dir: Path) -> None:
    """A connection on which nobody says anything ends within a probe timeout of the agreed time."""
    async with linked(short_dir) as (node, _workshop, peer, _link), asyncio.timeout(20):
        session, theirs = nodes.session_of(peer), session_at(node)
        stop_keepalive(session, theirs)
        await session.ping()
        ending = asyncio.ensure_future(ended(theirs))
        for side, end in ((session, ended(session)), (theirs, ending)):
            probe_timeout = side._quic._loss.get_probe_timeout()
            silent, _failure = await end
            assert IDLE - probe_timeout <= silent <= IDLE + probe_timeout + 0.3


async def test_a_close_that_never_arrives(short_dir: Path) -> None:
    """QUIC-25: where CONNECTION_CLOSE is lost, and all that repeats it, the peer learns by the agreed silence."""
    async with linked(short_dir) as (node, _workshop, peer, link), asyncio.timeout(20):
        session = nodes.session_of(peer)
        link.link.lines[Direction.TO_CLIENT].darken(math.inf)
        await node.stop(graceful=False)
        _silent, failure = await ended(session)
        assert failure.reason == f"nothing heard for {IDLE:g} s"


async def test_with_keepalive(short_dir: Path) -> None:
    """A connection on which nobody calls lives on, and the next call finds it."""
    async with linked(short_dir) as (node, _workshop, peer, _link), asyncio.timeout(20):
        session = nodes.session_of(peer)
        made = asyncio.get_running_loop().time()
        await streams.until(
            lambda: session.is_closed or session.heard_at - made > 2 * IDLE, lambda: asyncio.sleep(0.05)
        )
        await nodes.ping(nodes.control(peer))
        assert node.stats()["handshakes_completed"] == 1
