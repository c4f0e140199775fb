"""Where a node may be: addresses it cannot have (LIFE-12), and two nodes on one host."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from support import certs, nodes, processes, requires
from support.processes import SERVE, Ended

AS_NOBODY = """
import os, sys
from tndrl_cli.app import main
if os.geteuid() == 0:
    # Whoever is nobody may be unable to load anything: do once, in vain, what is to be done.
    main([*sys.argv[1:], "--server-addr", "192.0.2.1:0", "--state-dir", os.environ["TMPDIR"] + "/root"])
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""
"""The command ``tndrl`` for a plain user, even where the interpreter stands in a folder of root's."""


async def serve(file: Path, command: Sequence[str] = SERVE) -> Ended:
    """Run ``tndrl serve`` to its end, which a mistake makes come soon."""
    return await processes.run(*command, "-c", str(file), TMPDIR=str(file.parent))


@pytest.fixture
def open_dir(scratch: Path, short_dir: Path) -> Iterator[Callable[[], None]]:
    """Yield a function that makes everything in a folder readable for everybody."""
    before = scratch.stat().st_mode

    def open_up() -> None:
        for path in (scratch, short_dir, *short_dir.rglob("*")):
            path.chmod(0o711 if path == scratch else 0o777 if path.is_dir() else 0o644)
        if os.geteuid() == 0:
            os.chown(short_dir / "pki" / "tndrl.key", 65534, 65534)
        (short_dir / "pki" / "tndrl.key").chmod(0o600)

    yield open_up
    scratch.chmod(before)


def check(ended: Ended, *words: str) -> None:
    """Check that a node ended as a mistake in its configuration does: with 2 and a last line that has the words."""
    assert ended.code == 2, ended
    assert ended.out == ""
    line = ended.err.splitlines()[-1]
    assert line.startswith("tndrl: ")
    assert "Traceback" not in ended.err
    for word in words:
        assert word in line


async def test_port_in_use(short_dir: Path) -> None:
    """A port that somebody has is named, with the key to change."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{other.getsockname()[1]}"
        ended = await serve(processes.write_config(short_dir, server__addr=address))
    check(ended, address, "in use", "server.addr", "choose another")


@pytest.mark.parametrize("address", ["192.0.2.1:0", "[2001:db8::1]:0"])
async def test_address_that_is_not_here(short_dir: Path, address: str) -> None:
    """An address of no interface of this host is named."""
    ended = await serve(processes.write_config(short_dir, server__addr=address))
    check(ended, address.rpartition(":")[0], "server.addr", "choose another")


async def test_port_for_root_only(short_dir: Path, open_dir: Callable[[], None]) -> None:
    """A port below 1024 is refused to a plain user, who learns why."""
    if lowest_free_port() <= 1:
        requires.missing("ports below 1024 need rights: net.ipv4.ip_unprivileged_port_start must not be 0")
    file = processes.write_config(short_dir, server__addr="127.0.0.1:1")
    open_dir()
    ended = await serve(file, (sys.executable, "-c", AS_NOBODY, "serve"))
    check(ended, "127.0.0.1:1", "Permission denied", "server.addr")


def lowest_free_port() -> int:
    """Return the lowest port that a plain user may listen on."""
    setting = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    return int(setting.read_text()) if setting.exists() else 1024


async def test_two_nodes_on_one_host(short_dir: Path) -> None:
    """Two nodes with state directories of their own serve side by side, and one outlives the other."""
    async with (
        processes.serving(short_dir / "a", command=SERVE) as first,
        nodes.calling(short_dir / "c", "c", first.address) as peer,
    ):
        async with (
            processes.serving(short_dir / "b", certs.node_leaf("b"), command=SERVE) as second,
            nodes.calling(short_dir / "d", "d", second.address) as other,
        ):
            assert (first.identity, second.identity) == ("spiffe://tndrl/node/a", "spiffe://tndrl/node/b")
            assert (await nodes.status(other)).identity == second.identity
        assert (await nodes.status(peer)).identity == first.identity


async def test_one_state_directory_for_two(short_dir: Path) -> None:
    """A second node on a state directory in use exits 2 and names it; the first goes on."""
    async with (
        processes.serving(short_dir / "a", command=SERVE) as first,
        nodes.calling(short_dir / "c", "c", first.address) as peer,
    ):
        state = str(short_dir / "a" / "state")
        ended = await serve(processes.write_config(short_dir / "b", stateDir=state))
        check(ended, state, "stateDir", "another node", "give each node")
        await nodes.ping(nodes.control(peer))


async def test_a_killed_node_leaves_its_state_directory(short_dir: Path) -> None:
    """The state directory of a node that was killed is free for the next."""
    async with processes.serving(short_dir / "a", command=SERVE) as first:
        first.process.kill()
        await first.ended()
    async with processes.serving(short_dir / "a", command=SERVE) as second:
        assert second.identity == first.identity
