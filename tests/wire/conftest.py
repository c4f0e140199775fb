"""The stages of the wire tests, set up and torn down."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pki import credentials
from support import certs, nodes
from tndrl.transport import MuxDialer
from wire.stages import Caller, Stage, target


@pytest.fixture
async def stage(short_dir: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Stage]:
    """Yield a node that rogue clients may dial."""
    caplog.set_level(logging.INFO)
    witness = nodes.Witness()
    async with (
        nodes.running(short_dir / "a", witness=witness) as node,
        nodes.calling(short_dir / "victim", "victim", node.address) as victim,
    ):
        await nodes.ping(victim)
        yield Stage(node, witness, victim, caplog)


@pytest.fixture
async def caller(short_dir: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Caller]:
    """Yield a dialer that may dial rogue servers."""
    caplog.set_level(logging.INFO)
    ours = nodes.config(short_dir / "b", certs.node_leaf("b")).pki.paths()
    async with (
        nodes.running(short_dir / "a") as node,
        MuxDialer(credentials.load(ours.cert, ours.key, ours.ca_cert)) as dialer,
    ):
        victim = target(node.address)
        await (await dialer.dial(victim)).wait_confirmed()
        yield Caller(dialer, victim, caplog)
