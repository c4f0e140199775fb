"""The Shutdown call, in every way it can be asked (LIFE-03)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from scenarios.conftest import Scene
from support import nodes
from support.workshop import Work
from tndrl.control.state import NodeState
from tndrl.errors import ConnectionClosedError
from tndrl.v1 import control_pb2

Request = control_pb2.ShutdownRequest


pytestmark = pytest.mark.usefixtures("boss")


@pytest.fixture
async def boss(scene: Scene, short_dir: Path) -> AsyncIterator[None]:
    """Let the scene have the Control service as an admin sees it."""
    async with nodes.calling(short_dir / "boss", "boss", scene.node.address) as peer:
        scene.boss = nodes.control(peer)
        yield
        await scene.node.stop(graceful=False)


@pytest.mark.parametrize("graceful", [True, False])
@pytest.mark.parametrize("busy", [True, False])
async def test_the_answer_comes_before_the_end(scene: Scene, graceful: bool, busy: bool) -> None:
    """Whoever asks learns that it was accepted, however fast the node goes."""
    if busy:
        _held = scene.stub().Make(Work(how="hold"))
        await scene.workshop.begun.reach()
    answer = await scene.boss.Shutdown(Request(graceful=graceful, timeout_seconds=1))
    assert (answer.accepted, answer.rejection_reason) == (True, "")
    assert await scene.node.wait_stopped() is not busy


@pytest.mark.parametrize("times", [5, pytest.param(200, marks=pytest.mark.long)])
async def test_the_answer_always_comes(short_dir: Path, times: int) -> None:
    """No node, out of many that end at once with calls running, keeps its answer to itself."""
    for _ in range(times):
        async with (
            nodes.running(short_dir / "many") as node,
            nodes.calling(short_dir / "me", "a", node.address) as peer,
        ):
            assert (await nodes.control(peer).Shutdown(Request(graceful=False))).accepted
            await node.wait_stopped()


async def test_the_reason_is_given_on(scene: Scene) -> None:
    """Peers read the reason in how their connection ended, made safe to print."""
    session = nodes.session_of(scene.peer)
    await scene.boss.Shutdown(Request(graceful=True, reason="for\nmaintenance"))
    await scene.node.wait_stopped()
    failure = await session.wait_closed()
    assert isinstance(failure, ConnectionClosedError)
    assert failure.reason.isprintable()
    assert failure.reason.endswith("nmaintenance")


async def test_no_reason_names_who_asked(scene: Scene) -> None:
    """Without a reason the admin's identity is the reason."""
    session = nodes.session_of(scene.peer)
    await scene.boss.Shutdown(Request(graceful=True))
    await scene.node.wait_stopped()
    failure = await session.wait_closed()
    assert "asked to by spiffe://tndrl/node/boss" in str(failure)


async def test_zero_seconds_is_the_nodes_own_limit(scene: Scene) -> None:
    """A timeout of 0 gives running calls as long as the node's configuration says, not no time at all."""
    held = scene.stub().Make(Work(how="hold"))
    await scene.workshop.begun.reach()
    assert (await scene.boss.Shutdown(Request(graceful=True, timeout_seconds=0))).accepted
    while (
        await scene.boss.GetStatus(control_pb2.GetStatusRequest())
    ).state != control_pb2.NODE_STATE_DRAINING:
        pass
    scene.workshop.released.add()
    assert await held
    assert await scene.node.wait_stopped()


async def test_the_timeout_counts(scene: Scene) -> None:
    """Calls that run longer than the timeout are cut."""
    _held = scene.stub().Make(Work(how="hold"))
    await scene.workshop.begun.reach()
    began = time.monotonic()
    await scene.boss.Shutdown(Request(graceful=True, timeout_seconds=1))
    assert not await scene.node.wait_stopped()
    assert 0.9 < time.monotonic() - began < 1 + 1


@pytest.mark.parametrize("seconds", [-1, -(2**63), 86_401, 2**63 - 1])
async def test_impossible_timeouts(scene: Scene, seconds: int) -> None:
    """A negative or huge timeout is INVALID_ARGUMENT, and the node goes on."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await scene.boss.Shutdown(Request(graceful=True, timeout_seconds=seconds))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(seconds) in (raised.value.details() or "")
    assert scene.node.state is NodeState.READY


async def test_one_of_many_at_once_is_accepted(scene: Scene) -> None:
    """Of ten requests at once one is accepted; the others learn that the node is stopping already, and why."""
    held = scene.stub().Make(Work(how="hold"))
    await scene.workshop.begun.reach()
    requests = [scene.boss.Shutdown(Request(graceful=True, reason="for maintenance")) for _ in range(10)]
    answers = await asyncio.gather(*requests)
    assert sorted(answer.accepted for answer in answers) == [False] * 9 + [True]
    refused = {answer.rejection_reason for answer in answers if not answer.accepted}
    assert refused == {"the node is stopping already: for maintenance"}
    scene.workshop.released.add()
    assert await held


async def test_without_grace_after_with_grace(scene: Scene) -> None:
    """A node that drains takes one more request, without grace, and ends at once."""
    _held = scene.stub().Make(Work(how="hold"))
    await scene.workshop.begun.reach()
    assert (await scene.boss.Shutdown(Request(graceful=True))).accepted
    began = time.monotonic()
    assert (await scene.boss.Shutdown(Request(graceful=False))).accepted
    assert not await scene.node.wait_stopped()
    assert time.monotonic() - began < 1.5
