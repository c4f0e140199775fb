"""Calling a peer, from a script or from a node."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

import tndrl
from support import certs, nodes
from tndrl.errors import CertificateRefusedError, ConfigError, NoAnswerError, UsageError
from tndrl.node.peer import resolve_target
from tndrl.v1.control_pb2 import PingRequest


async def test_what_a_peer_says_of_itself(short_dir: Path) -> None:
    """A peer has an address, a verified identity and no failure."""
    async with (
        nodes.running(short_dir / "a") as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        assert (peer.address, peer.identity, peer.failure) == (node.address, node.identity, None)
        assert repr(peer) == f"<Peer spiffe://tndrl/node/a at {node.address}>"
        await peer.confirmed()


async def test_with_a_folder_only(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script needs no configuration: the folder of its certificate will do."""
    monkeypatch.setenv("HOME", str(short_dir))
    pki_dir = certs.write_pki_dir(short_dir / "b", certs.node_leaf("b"))
    async with nodes.running(short_dir / "a") as node, tndrl.connect(node.address, pki_dir=pki_dir) as peer:
        await nodes.ping(nodes.control(peer))


async def test_with_a_folder_and_a_configuration(short_dir: Path) -> None:
    """Both at once are refused: one would win in silence."""
    with pytest.raises(ConfigError, match="not both"):
        async with tndrl.connect("a:4433", config=nodes.config(short_dir), pki_dir=short_dir):
            pass


async def test_timeout(short_dir: Path) -> None:
    """The caller's own timeout beats the configuration's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(NoAnswerError) as raised:
            async with tndrl.connect(target, config=nodes.config(short_dir), timeout=0.05):
                pass
    assert raised.value.timeout == 0.05


async def test_confirmed_raises(short_dir: Path) -> None:
    """A peer that refuses us after we have accepted it is told apart from one that has not yet."""
    async with (
        nodes.running(short_dir / "a", server__allow=["spiffe://tndrl/node/c"]) as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        with pytest.raises(CertificateRefusedError):
            await peer.confirmed()


class TestResolveTarget:
    """Whom a target means."""

    peers = (
        {"name": "c", "addr": "[::1]:5", "identity": "spiffe://tndrl/node/x"},
        {"name": "d", "addr": "e:6"},
    )

    def resolve(self, folder: Path, target: str) -> tuple[str, int, str | None]:
        """Return the parts of what a target means."""
        found = resolve_target(target, nodes.config(folder, peers=list(self.peers)))
        return found.host, found.port, str(found.expected) if found.expected else None

    @pytest.mark.parametrize(
        ("target", "meaning"),
        [
            ("c", ("::1", 5, "spiffe://tndrl/node/x")),
            ("d", ("e", 6, None)),
            ("f.example:7", ("f.example", 7, None)),
            ("[::1]:5", ("::1", 5, None)),
        ],
    )
    def test_found(self, tmp_path: Path, target: str, meaning: object) -> None:
        """A name of the configuration brings its identity along, an address none."""
        assert self.resolve(tmp_path, target) == meaning

    @pytest.mark.parametrize("target", ["g", "", "e:", "e:0", "e:70000", ":7", "::1"])
    def test_not_found(self, tmp_path: Path, target: str) -> None:
        """What is neither is an error of configuration."""
        with pytest.raises(ConfigError):
            self.resolve(tmp_path, target)

    def test_names_are_told(self, tmp_path: Path) -> None:
        """Whoever mistypes a name reads which ones there are."""
        with pytest.raises(ConfigError, match=r"'g' is neither host:port nor a name from peers \(c, d\)"):
            self.resolve(tmp_path, "g")


async def test_stats(short_dir: Path) -> None:
    """The counters of a peer's connections are told."""
    async with (
        nodes.running(short_dir / "a") as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        before = peer.stats()["datagrams_sent"]
        await nodes.ping(nodes.control(peer))
        assert peer.stats()["datagrams_sent"] > before > 0
        assert peer.stats()["connections_open"] == 1


async def test_a_nodes_connections_are_shared(short_dir: Path) -> None:
    """All that a node has to say to a peer goes over one connection, which outlives each use."""
    async with (
        nodes.running(short_dir / "a") as callee,
        nodes.running(short_dir / "b", certs.node_leaf("b")) as caller,
    ):
        for _ in range(3):
            async with caller.connect(callee.address) as peer:
                await nodes.ping(nodes.control(peer))
        assert callee.stats()["handshakes_completed"] == 1


async def test_another_event_loop(short_dir: Path) -> None:
    """A channel used from another event loop says so, instead of hanging."""
    async with (
        nodes.running(short_dir / "a") as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        ping = nodes.control(peer).Ping

        async def call() -> None:
            await ping(PingRequest())

        with pytest.raises(UsageError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, call())
        await ping(PingRequest())


async def test_a_channel_after_the_end(short_dir: Path) -> None:
    """When its block is left a peer gives no channels."""
    async with nodes.running(short_dir / "a") as node:
        async with nodes.calling(short_dir / "b", "b", node.address) as peer:
            pass
        with pytest.raises(UsageError, match="closed"):
            peer.channel(tndrl.StreamType.CONTROL)
