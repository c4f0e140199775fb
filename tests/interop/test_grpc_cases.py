"""gRPC's interoperability cases (H2-14), each make on either end."""

from __future__ import annotations

from pathlib import Path

import pytest

import tndrl
from interop.conftest import Both
from support import grpc_testing, nodes

CASES = pytest.mark.parametrize("case", grpc_testing.CASES)


@CASES
@pytest.mark.interop("Python", "Python calls Python")
async def test_python_calls_python(short_dir: Path, case: str) -> None:
    """A gRPC case."""
    node = tndrl.Node(nodes.config(short_dir / "a"))
    node.add_service(grpc_testing.TYPE, grpc_testing.Service().add_to)
    async with node, nodes.calling(short_dir / "b", "b", node.address) as peer:
        await grpc_testing.CASES[case](peer.channel(grpc_testing.TYPE))


@CASES
@pytest.mark.interop("Go", "Python calls Go")
async def test_python_calls_go(both: Both, case: str) -> None:
    """A gRPC case."""
    served = await both.go_serves()
    async with both.calling(served["addr"]) as peer:
        await grpc_testing.CASES[case](peer.channel(grpc_testing.TYPE))


@CASES
@pytest.mark.interop("Go", "Go calls Python")
async def test_go_calls_python(both: Both, case: str) -> None:
    """A gRPC case."""
    async with both.serving() as node:
        channel = await both.go_channel(node, grpc_testing.TYPE)
        assert (await both.go.do("grpc", chan=channel, case=case))["passed"]


@pytest.mark.interop("Go", "Python calls Go")
async def test_details_from_go(both: Both) -> None:
    """The details of a status cross over."""
    served = await both.go_serves()
    async with both.calling(served["addr"]) as peer:
        await grpc_testing.status_details(peer.channel(grpc_testing.TYPE))


@pytest.mark.interop("Go", "Go calls Python")
async def test_details_to_go(both: Both) -> None:
    """The details of a status cross over."""
    async with both.serving() as node:
        channel = await both.go_channel(node, grpc_testing.TYPE)
        answer = await both.go.do("details", chan=channel, text="because")
        assert (answer["code"], answer["message"], answer["reason"]) == (
            "ResourceExhausted",
            "enough",
            "because",
        )
