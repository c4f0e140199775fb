"""A peer of another make, built once a run, certificates for both makes, and what each test shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tndrl
from support import certs, go_peer, grpc_testing, nodes


@pytest.fixture(autouse=True)
def row(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Leave in the report what ``scripts/interop_page.py`` makes its table of: peer, direction and case."""
    marker = request.node.get_closest_marker("interop")
    assert marker is not None, "say what the test shows: @pytest.mark.interop(peer, direction)"
    peer, direction = marker.args
    case = (request.function.__doc__ or "").strip().partition("\n")[0]
    parameters = getattr(request.node, "callspec", None)
    if parameters is not None:
        case += f" ({', '.join(str(value) for value in parameters.params.values())})"
    for name, value in (("peer", peer), ("direction", direction), ("case", case)):
        record_property(name, value)


BUILD = 300
"""Seconds for a test with a Go peer: whichever comes first builds it, which takes minutes on a cold, busy machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests that need the Go peer the time to build it."""
    for item in items:
        if "go_program" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(BUILD), append=False)


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go peer's program."""
    base = tmp_path_factory.getbasetemp()
    return go_peer.build(base.parent if base.name.startswith("popen-") else base)


@dataclass
class Both:
    """A Go peer, and nodes and callers of ours beside it."""

    go: go_peer.GoPeer
    folder: Path

    def pki(self, name: str, chain: certs.Made | None = None) -> str:
        """Return the PKI directory of ``spiffe://tndrl/node/<name>``."""
        place = self.folder / name / "pki"
        if not place.exists():
            place.mkdir(parents=True)
            certs.write_pki_dir(place, chain or certs.node_leaf(name))
        return str(place)

    async def go_serves(self, name: str = "a", **options: object) -> dict[str, Any]:
        """Have the Go peer serve as ``name``; returns its address and handle."""
        return await self.go.do("serve", pki=self.pki(name), **options)

    async def go_dials(self, node: tndrl.Node | str, name: str = "b", **options: object) -> dict[str, Any]:
        """Have the Go peer connect as ``name`` to "a"; returns facts and its handle of the connection."""
        address = node if isinstance(node, str) else node.address
        options.setdefault("expect", "spiffe://tndrl/node/a")
        return await self.go.do("dial", addr=address, pki=self.pki(name), **options)

    async def go_channel(self, node: tndrl.Node | str, stream_type: int, **options: object) -> str:
        """Have the Go peer connect, and return a channel of it."""
        dialled = await self.go_dials(node, **options)
        return await self.go.channel(dialled["conn"], stream_type)

    @asynccontextmanager
    async def serving(self, **flags: object) -> AsyncIterator[tndrl.Node]:
        """Run a node of ours as "a" with the service of gRPC's cases."""
        self.pki("a")
        node = tndrl.Node(nodes.config(self.folder / "a", **flags))
        node.add_service(grpc_testing.TYPE, grpc_testing.Service().add_to)
        async with node:
            yield node

    @asynccontextmanager
    async def calling(self, address: str, name: str = "b", **flags: object) -> AsyncIterator[tndrl.Peer]:
        """Call as ``name``."""
        async with nodes.calling(self.folder / name, name, address, **flags) as peer:
            yield peer


@pytest.fixture
async def both(go_program: Path, short_dir: Path) -> AsyncIterator[Both]:
    """A running Go peer, and a folder for both makes."""
    async with go_peer.running(go_program) as go:
        yield Both(go, short_dir)
