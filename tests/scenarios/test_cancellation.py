"""Callers that give up a call before, at and after its answer, for the four kinds of calls (H2-11)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tndrl
from support import nodes, streams, workshop
from support.workshop import Work

SOON = 1.0
"""Seconds in which a handler hears that its caller has given up."""

KINDS = ("Make", "MakeMany", "Collect", "Exchange")
AT_ONCE = 20


@dataclass
class Scene:
    """A node with the workshop, and a caller of it."""

    node: tndrl.Node
    made: workshop.Workshop
    stub: Any

    def begin(self, kind: str, how: str) -> Any:
        """Begin a call."""
        work = Work(how=how, pieces=1)
        if kind in ("Make", "MakeMany"):
            return getattr(self.stub, kind)(work, timeout=20)
        return getattr(self.stub, kind)(once(work), timeout=20)

    async def quiet(self) -> None:
        """Wait until no call is left on the node, a second at most."""
        async with asyncio.timeout(SOON):
            await streams.until(lambda: self.node.active_tasks == 0, lambda: asyncio.sleep(0.005))


async def once(work: Work) -> AsyncIterator[Work]:
    """Yield one request."""
    yield work


async def answer(call: Any) -> None:
    """Wait for the call's answer."""
    if hasattr(call, "__aiter__"):
        async for _piece in call:
            pass
    else:
        await call


@pytest.fixture
async def scene(short_dir: Path) -> AsyncIterator[Scene]:
    """Yield a node and a caller whose channel has been used."""
    made = workshop.Workshop()
    node = tndrl.Node(nodes.config(short_dir / "a"))
    node.add_service(workshop.TYPE, made.add_to)
    async with node, nodes.calling(short_dir / "b", "b", node.address) as peer:
        stub = workshop.stub_of(peer)
        await stub.Make(Work(), timeout=10)
        scene = Scene(node, made, stub)
        yield scene
        made.released.add()
    vars(scene).clear()  # pytest keeps it, and a closed channel keeps grpcio's poller alive


@pytest.mark.parametrize("kind", KINDS)
async def test_before_the_answer(scene: Scene, kind: str) -> None:
    """A handler that runs is cancelled within a second, once, and nothing of it is left."""
    begun, cancelled = scene.made.begun.count, scene.made.cancelled.count
    call = scene.begin(kind, "hold")
    await scene.made.begun.reach(begun + 1)
    call.cancel()
    async with asyncio.timeout(SOON):
        await scene.made.cancelled.reach(cancelled + 1)
    await scene.quiet()
    assert (scene.made.begun.count, scene.made.cancelled.count) == (begun + 1, cancelled + 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_at_the_answer(scene: Scene, kind: str) -> None:
    """Whichever comes first, each handler ran once and ended, and later calls are answered."""
    begun = scene.made.begun.count
    calls = [scene.begin(kind, "hold") for _ in range(AT_ONCE)]
    await scene.made.begun.reach(begun + AT_ONCE)
    scene.made.released.add()  # the answers of all are on their way
    for call in calls:
        call.cancel()
        await asyncio.sleep(0)
    await scene.quiet()
    assert scene.made.begun.count == begun + AT_ONCE
    await scene.stub.Make(Work(), timeout=10)


@pytest.mark.parametrize("kind", KINDS)
async def test_after_the_answer(scene: Scene, kind: str) -> None:
    """To give up what is over changes nothing."""
    begun, cancelled = scene.made.begun.count, scene.made.cancelled.count
    call = scene.begin(kind, "")
    await answer(call)
    assert not call.cancel()
    await scene.quiet()
    assert (scene.made.begun.count, scene.made.cancelled.count) == (begun + 1, cancelled)
