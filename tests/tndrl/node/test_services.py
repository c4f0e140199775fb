"""The servers behind a node's listener; how they start and end with it is in test_node.py and the scenarios."""

from __future__ import annotations

from pathlib import Path

import pytest

import tndrl
from support import nodes
from tndrl.node.services import Services
from tndrl.node.trust import load_credentials


def services(folder: Path) -> Services:
    """Return what a node of the tests' configuration serves."""
    return Services(nodes.config(folder), None, lambda: None)


def test_nothing_runs_at_first(tmp_path: Path) -> None:
    """Before the start every counter stands at nothing."""
    made = services(tmp_path)
    assert made.running == 0
    assert set(made.stats().values()) == {0}


async def test_stop_before_the_start(tmp_path: Path) -> None:
    """What never ran can be stopped."""
    await services(tmp_path).stop()


async def test_control_is_bound_last(short_dir: Path) -> None:
    """A service whose registration fails is the caller's to hear of, before anybody could reach Control."""
    made = services(short_dir)
    config = nodes.config(short_dir)
    node = tndrl.Node(config)
    node.add_service(0x10, lambda _server: 1 / 0)
    made.added.update(node._services.added)
    credentials = load_credentials(config)
    async with tndrl.MuxListener(credentials, host="127.0.0.1", port=0) as listener:
        with pytest.raises(ZeroDivisionError):
            await made.start(listener, short_dir, None, credentials.spiffe_id, short_dir)
        assert tndrl.StreamType.CONTROL not in listener._backends._paths
        await made.stop()
