"""A node with the workshop, and somebody who calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tndrl
from support import nodes
from support.workshop import TYPE, Workshop, stub_of


@dataclass
class Scene:
    """A running node, the service on it, and a caller's connection."""

    node: tndrl.Node
    workshop: Workshop
    peer: tndrl.Peer
    boss: object = None
    """The Control service as an admin sees it, where a test asks for it."""

    def stub(self, **options: object):
        """Return a stub of the workshop on a stream of its own."""
        return stub_of(self.peer, **options)


@pytest.fixture
async def scene(short_dir: Path) -> AsyncIterator[Scene]:
    """Yield a node whose admin is "boss", called by "b"."""
    workshop = Workshop()
    config = nodes.config(short_dir / "a", control__admins=["spiffe://tndrl/node/boss"])
    node = tndrl.Node(config)
    node.add_service(TYPE, workshop.add_to)
    async with node, nodes.calling(short_dir / "b", "b", node.address) as peer:
        scene = Scene(node, workshop, peer)
        yield scene
        await node.stop(graceful=False)
    vars(scene).clear()  # pytest keeps it, and a closed channel keeps grpcio's poller alive
