"""The stages of the wire tests, set up and torn down."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support import certs, nodes
from wire.by_hand import Scene, one_scene
from wire.stages import Caller, Stage


@pytest.fixture
async def stage(short_dir: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Stage]:
    """Yield a node that rogue clients may dial."""
    caplog.set_level(logging.INFO)
    witness = nodes.Witness()
    async with (
        nodes.running(short_dir / "a", witness=witness) as node,
        nodes.calling(short_dir / "victim", "victim", node.address) as peer,
    ):
        victim = nodes.control(peer)
        await nodes.ping(victim)
        stage = Stage(node, witness, victim, caplog)
        yield stage
    vars(stage).clear()  # pytest keeps it, and a closed channel keeps grpcio's poller alive


@pytest.fixture
async def caller(short_dir: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Caller]:
    """Yield a node that may dial rogue servers."""
    async with (
        nodes.running(short_dir / "a") as callee,
        nodes.running(short_dir / "b", certs.node_leaf("b")) as node,
        node.connect(callee.address) as peer,
    ):
        victim = nodes.control(peer)
        await nodes.ping(victim)
        caller = Caller(node, victim, caplog)
        yield caller
    vars(caller).clear()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Yield a caller and a server."""
    async with one_scene() as made:
        yield made
    vars(made).clear()  # pytest keeps it, and a closed channel keeps grpcio's poller alive
