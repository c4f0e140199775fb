"""Who calls, as handlers see it, and what only admins may."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest

from scenarios.conftest import Scene
from support import nodes
from support.workshop import Work, stub_of
from tndrl.v1 import control_pb2


@pytest.mark.parametrize(("callers", "calls"), [(50, 1000), pytest.param(50, 10_000, marks=pytest.mark.long)])
async def test_each_call_has_its_own_caller(scene: Scene, short_dir: Path, callers: int, calls: int) -> None:
    """With fifty callers mixed up and metadata that lies, every handler sees who proved it."""
    names = [f"n{number}" for number in range(callers)]
    async with AsyncExitStack() as stack:
        address = scene.node.address
        entered = (stack.enter_async_context(nodes.calling(short_dir / n, n, address)) for n in names)
        stubs = [stub_of(peer) for peer in await asyncio.gather(*entered)]
        order = random.Random(0).choices(range(callers), k=calls)
        lies = [(("x-spiffe-id", f"spiffe://tndrl/node/{names[-1 - n]}"),) for n in order]
        made = await asyncio.gather(
            *(stubs[n].Make(Work(), metadata=lie) for n, lie in zip(order, lies, strict=True))
        )
    assert [piece.made_for for piece in made] == [f"spiffe://tndrl/node/{names[n]}" for n in order]


@pytest.mark.parametrize("graceful", [True, False])
async def test_only_admins_may_stop_a_node(scene: Scene, graceful: bool) -> None:
    """Shutdown by anybody else is PERMISSION_DENIED, names the caller, and the node goes on."""
    lie = (("x-spiffe-id", "spiffe://tndrl/node/boss"),)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await nodes.control(scene.peer).Shutdown(control_pb2.ShutdownRequest(graceful=graceful), metadata=lie)
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "spiffe://tndrl/node/b is not in control.admins" in (raised.value.details() or "")
    assert scene.node.state.name == "READY"
    assert await scene.stub().Make(Work())


async def test_a_nodes_own_identity_is_an_admin(short_dir: Path) -> None:
    """Where control.admins is not set, the node's own certificate may stop it."""
    async with (
        nodes.running(short_dir / "a") as node,
        nodes.calling(short_dir / "a2", "a", node.address) as peer,
    ):
        answer = await nodes.control(peer).Shutdown(control_pb2.ShutdownRequest(graceful=True))
        assert answer.accepted
        assert await node.wait_stopped()
