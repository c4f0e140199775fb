"""A node is reached at every address of its host, in each form that addresses have (QUIC-28)."""

from __future__ import annotations

from pathlib import Path

import psutil
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


FORMS = {
    "127.0.0.1:0": ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"],
    "0.0.0.0:0": ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"],
    "[::1]:0": ["[::1]"],
    "[::]:0": ["127.0.0.1", "[::1]", "localhost", "[::ffff:127.0.0.1]"],
    "[::ffff:127.0.0.1]:0": ["127.0.0.1", "[::ffff:127.0.0.1]"],
}
"""Where a node listens, and how callers may write where it is."""


@pytest.mark.parametrize("listen", FORMS)
async def test_every_form_of_address(short_dir: Path, listen: str) -> None:
    """IPv4, IPv6, both at once, IPv4 written as IPv6, and a name that means both families."""
    requires.ipv6()
    async with nodes.running(short_dir / "a", server__addr=listen) as node:
        port = node.address.rpartition(":")[2]
        assert port != "0"
        for number, host in enumerate(FORMS[listen]):
            known = [{"name": "x", "addr": f"{host}:{port}", "identity": node.identity}]
            async with nodes.calling(short_dir / str(number), "b", "x", peers=known) as peer:
                await nodes.ping(nodes.control(peer))


@pytest.mark.parametrize("everywhere", [True, False])
async def test_a_link_local_address_with_its_zone(short_dir: Path, everywhere: bool) -> None:
    """An address that means nothing without an interface is listened on and called with it (RFC 4007 section 11)."""
    host = f"[{link_local()}]"
    async with nodes.running(short_dir / "a", server__addr="[::]:0" if everywhere else f"{host}:0") as node:
        port = node.address.rpartition(":")[2]
        known = [{"name": "x", "addr": f"{host}:{port}", "identity": node.identity}]
        async with nodes.calling(short_dir / "b", "b", "x", peers=known) as peer:
            await nodes.ping(nodes.control(peer))


def link_local() -> str:
    """Return a link-local address of this host, with its zone."""
    found = [one.address for addresses in psutil.net_if_addrs().values() for one in addresses]
    local = [address for address in found if address.startswith("fe80:") and "%" in address]
    return local[0] if local else requires.missing("it needs an interface with a link-local IPv6 address")
