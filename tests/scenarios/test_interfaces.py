"""A caller whose interfaces come and go keeps its connection."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from support import processes, requires

SCRIPT = Path(__file__).parents[1] / "support" / "two_interfaces.py"
LONGEST = 0.11
"""Seconds that a call may take while the network changes: 0.1 s, and what it and two round trips take on this link."""


@pytest.mark.serial
async def test_calls_go_on_when_an_interface_goes(short_dir: Path) -> None:
    """Neither an interface that goes down nor an address that changes fails a call, or holds one up for long."""
    requires.linux()
    requires.namespaces()
    requires.tool("ip", "install the package iproute2")
    async with asyncio.timeout(60):
        ended = await processes.run("unshare", "-rn", sys.executable, str(SCRIPT), str(short_dir))
    assert ended.code == 0, ended.err
    noticed, node = [json.loads(line) for line in ended.out.splitlines()]
    assert noticed["failures"] == []
    assert node["handshakes"] == 1
    assert len(noticed["stalls"]) == 4
    assert max(noticed["stalls"].values()) < LONGEST, noticed
