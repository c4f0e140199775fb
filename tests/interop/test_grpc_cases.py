"""gRPC's interoperability cases (H2-14), each make on either end."""

from __future__ import annotations

from pathlib import Path

import pytest

import tndrl
from support import certs, grpc_testing, nodes
from support.go_peer import GoPeer


def serve(folder: Path) -> tndrl.Node:
    """Return a node with the service of the cases, not yet entered."""
    node = tndrl.Node(nodes.config(folder))
    node.add_service(grpc_testing.TYPE, grpc_testing.Service().add_to)
    return node


@pytest.mark.parametrize("case", grpc_testing.CASES)
async def test_python_calls_python(short_dir: Path, case: str) -> None:
    """Both ends are ours."""
    async with serve(short_dir / "a") as node, nodes.calling(short_dir / "b", "b", node.address) as peer:
        await grpc_testing.CASES[case](peer.channel(grpc_testing.TYPE))


@pytest.mark.parametrize("case", grpc_testing.CASES)
async def test_python_calls_go(short_dir: Path, go: GoPeer, case: str) -> None:
    """A Go node serves."""
    certs.write_pki_dir(short_dir / "a", certs.node_leaf("a"))
    served = await go.do("serve", pki=str(short_dir / "a"))
    async with nodes.calling(short_dir / "b", "b", served["addr"]) as peer:
        await grpc_testing.CASES[case](peer.channel(grpc_testing.TYPE))


@pytest.mark.parametrize("case", grpc_testing.CASES)
async def test_go_calls_python(short_dir: Path, go: GoPeer, case: str) -> None:
    """A Go client calls, with the checks of its own make."""
    certs.write_pki_dir(short_dir / "b", certs.node_leaf("b"))
    async with serve(short_dir / "a") as node:
        dialled = await go.do("dial", addr=node.address, pki=str(short_dir / "b"), expect=node.identity)
        channel = await go.channel(dialled["conn"], grpc_testing.TYPE)
        assert (await go.do("grpc", chan=channel, case=case))["passed"]
