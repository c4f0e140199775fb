"""A node on every address of its host is reached at each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import nodes, requires


@pytest.mark.parametrize("everywhere", ["0.0.0.0:0", "[::]:0"])
async def test_every_address_of_the_host_answers(short_dir: Path, everywhere: str) -> None:
    """A caller connects to an address that is not the one the node's route would answer from."""
    requires.linux()
    flags = {"server__addr": everywhere}
    async with nodes.running(short_dir / "a", **flags) as node:
        port = node.address.rpartition(":")[2]
        known = [{"name": "x", "addr": f"127.0.0.2:{port}", "identity": node.identity}]
        async with nodes.calling(short_dir / "b", "b", "x", peers=known) as peer:
            await nodes.ping(nodes.control(peer))
            assert peer.identity == node.identity
