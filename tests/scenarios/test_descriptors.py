"""A node with few file descriptors: no peer takes them all, and running out harms the streams that came last only."""

from __future__ import annotations

from pathlib import Path

import grpc.aio
import psutil
import pytest

import tndrl
from rogue.peer import Peer
from support import nodes, processes, streams
from support.refusals import retry_delay
from support.workshop import TYPE, Work, stub_of
from tndrl.transport.refusal import SOON

SHARE = 112
"""Streams that a peer may have alone, of 256 that half of 1,024 descriptors carry, 32 of them for Control."""


def with_descriptors(count: int) -> tuple[str, ...]:
    """Return the command of a node that may open so many descriptors."""
    return ("/bin/sh", "-c", f'ulimit -n {count} && exec "$@"', "sh", *processes.WORKSHOP)


def hoard(greedy: Peer, count: int) -> None:
    """Open streams of the workshop, to keep them."""
    for number in range(count):
        greedy.send(4 * number, bytes([TYPE]) + streams.request("Nothing"))


async def make(peer: tndrl.Peer) -> bytes:
    """Call the workshop on a stream of its own."""
    return (await stub_of(peer).Make(Work(material=b"oak"), timeout=5)).material


async def make_many(peer: tndrl.Peer, count: int) -> None:
    """Call it on so many streams, one after the other."""
    for _ in range(count):
        await make(peer)


async def test_one_peer_does_not_take_all(short_dir: Path) -> None:
    """Of 1,024 descriptors a greedy peer gets its share; others are served, and Control too."""
    command = with_descriptors(1024)
    async with (
        processes.serving(short_dir / "a", command=command) as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        async with streams.RawClient(node.address, "greedy") as greedy:
            hoard(greedy, 500)
            await greedy.until(lambda: len(greedy.ended) == 500 - SHARE)
            assert psutil.Process(node.pid).num_fds() < 1024
            assert await make(peer) == b"oak"
            about = (await nodes.status(peer)).metadata
            assert int(about["streams_refused.descriptors"]) == 500 - SHARE
            assert b"limits.descriptorsPercent" in greedy.received[4 * 499]
        assert await make(peer) == b"oak"


async def test_running_out_costs_the_last_only(short_dir: Path) -> None:
    """With no descriptor left a call fails as UNAVAILABLE; those that run go on, and later ones pass."""
    command = with_descriptors(100)
    async with (
        processes.serving(short_dir / "a", command=command, limits__descriptorsPercent=90) as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        stub = nodes.control(peer)
        await nodes.ping(stub)
        async with streams.RawClient(node.address, "greedy") as greedy:
            hoard(greedy, 40)
            await greedy.until(lambda: len(greedy.ended) > 5)
            await nodes.ping(stub)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await make_many(peer, 20)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
            assert retry_delay(raised.value) == SOON
            await nodes.ping(stub)
        assert await streams.eventually(lambda: make(peer)) == b"oak"
