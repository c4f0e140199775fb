"""What a node with an agent says of itself: busy with tasks, cancelled ones gone, and drained at the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from a2a.client.base_client import BaseClient
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    SendMessageConfiguration,
    StreamResponse,
    SubscribeToTaskRequest,
)
from a2a.utils.errors import TaskNotCancelableError
from grpc_health.v1 import health_pb2, health_pb2_grpc

import tndrl
from support import nodes
from support.agents import (
    CANCELED,
    COMPLETED,
    FAILED,
    Acting,
    Puppet,
    agent_node,
    ask,
    calling,
    client,
    request,
)
from support.workshop import Tally
from tndrl.agent.answers import TERMINAL, status, submitted
from tndrl.agent.executor import PromptExecutor
from tndrl.control.state import NodeState
from tndrl.v1 import control_pb2


@dataclass
class Held:
    """A node whose agent works on a task, and its caller's stream of it."""

    node: tndrl.Node
    peer: tndrl.Peer
    client: BaseClient
    events: AsyncIterator[StreamResponse]
    task_id: str

    async def rest(self) -> list[int]:
        """Return the states that the stream has still to tell."""
        left = [event async for event in self.events]
        return [event.status_update.status.state for event in left if event.HasField("status_update")]


@asynccontextmanager
async def holding(folder: Path, puppet: Puppet, version: str = "1.0", **flags: object) -> AsyncIterator[Held]:
    """Run an agent and begin a task that its provider holds."""
    async with agent_node(folder, PromptExecutor(puppet), **flags) as node, calling(node, folder) as peer:
        events = aiter(client(peer, version, streaming=True).send_message(request("hi")))
        task_id = (await anext(events)).task.id
        await puppet.begun.reach()
        yield Held(node, peer, client(peer, version), events, task_id)


async def state_of(peer: tndrl.Peer) -> tuple[int, int]:
    """Return what GetStatus says."""
    status = await nodes.status(peer)
    return status.state, status.active_tasks


async def test_busy(short_dir: Path) -> None:
    """While a task runs the node is BUSY with one task, however many calls wait for it; then it is READY."""
    puppet = Puppet(then="hold")
    async with holding(short_dir, puppet) as held:
        asking = [client(held.peer, "1.0", streaming=True) for _ in range(3)]
        waiting = [one.subscribe(SubscribeToTaskRequest(id=held.task_id)) for one in asking]
        assert {(await anext(events)).task.id for events in waiting} == {held.task_id}
        assert await state_of(held.peer) == (control_pb2.NODE_STATE_BUSY, 1)
        puppet.released.add()
        for events in (held.events, *waiting):
            assert [event async for event in events][-1].status_update.status.state == COMPLETED
        assert await state_of(held.peer) == (control_pb2.NODE_STATE_READY, 0)


async def test_calls_are_no_tasks(short_dir: Path) -> None:
    """A call that asks for a task, a list or the card makes no node BUSY."""
    seen = []
    async with agent_node(short_dir, llm__provider="echo") as node, calling(node, short_dir) as peer:
        task = await ask(client(peer, "1.0"), "hi")
        node._machine.note_tasks = seen.append
        await client(peer, "1.0").get_task(GetTaskRequest(id=task.id))
    assert seen == []


@pytest.mark.parametrize("version", ["1.0", "0.3"])
async def test_cancelling(short_dir: Path, version: str) -> None:
    """A cancelled task's provider has stopped, no task runs, and the stream ends with CANCELED, told once."""
    puppet = Puppet("a", then="hold")
    async with holding(short_dir, puppet, version) as held:
        task = await held.client.cancel_task(CancelTaskRequest(id=held.task_id))
        assert (task.status.state, puppet.ended.count) == (CANCELED, 1)
        states = await held.rest()
        assert [state for state in states if state in TERMINAL] == [CANCELED]
        assert await state_of(held.peer) == (control_pb2.NODE_STATE_READY, 0)


async def test_cancelling_again(short_dir: Path) -> None:
    """What has ended cannot be cancelled, and a cancellation by ten callers at once ends it once."""
    async with holding(short_dir, Puppet("a", then="hold")) as held:
        again = CancelTaskRequest(id=held.task_id)
        calls = [held.client.cancel_task(again) for _ in range(10)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        tasks = [one for one in ended if not isinstance(one, TaskNotCancelableError)]
        assert tasks
        assert {task.status.state for task in tasks} == {CANCELED}
        assert [state for state in await held.rest() if state in TERMINAL] == [CANCELED]
        with pytest.raises(TaskNotCancelableError):
            await held.client.cancel_task(again)


async def test_an_executor_that_ignores_cancelling(short_dir: Path) -> None:
    """A task is CANCELED even if its executor goes on, and what that publishes afterwards changes nothing."""
    release, published = Tally(), Tally()

    async def execute(context: Any, queue: Any) -> None:
        await queue.enqueue_event(submitted(context))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await release.reach()
        await queue.enqueue_event(status(context, COMPLETED))
        published.add()

    async with agent_node(short_dir, Acting(execute)) as node, calling(node, short_dir) as peer:
        asking = client(peer, "1.0")
        cancel = CancelTaskRequest(id=(await _begin(asking)).id)
        assert (await asking.cancel_task(cancel)).status.state == CANCELED
        release.add()
        await published.reach()
        assert (await asking.get_task(GetTaskRequest(id=cancel.id))).status.state == CANCELED


async def _begin(asking: BaseClient) -> Any:
    """Begin a task and do not wait for its end."""
    sent = request("hi")
    sent.configuration.CopyFrom(SendMessageConfiguration(return_immediately=True))
    return (await anext(asking.send_message(sent))).task


async def test_draining(short_dir: Path) -> None:
    """A node that drains refuses new calls of its agent, and lets tasks finish, their streams to the last event."""
    puppet = Puppet("a", then="hold")
    async with holding(short_dir, puppet) as held:
        health = health_pb2_grpc.HealthStub(held.peer.channel(tndrl.StreamType.CONTROL))
        watch = health.Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        stopping = asyncio.create_task(held.node.stop())
        await watch.read()
        for channel in (held.client, client(held.peer, "1.0")):
            with pytest.raises(Exception, match="the node is draining"):
                await ask(channel, "more")
        assert await state_of(held.peer) == (control_pb2.NODE_STATE_DRAINING, 1)
        puppet.released.add()
        assert (await held.rest())[-1] == COMPLETED
        assert await stopping


async def test_a_task_that_does_not_end(short_dir: Path) -> None:
    """A task that outlasts the grace period is cut; after the next start it has FAILED, and says why."""
    puppet = Puppet("a", then="hold")
    async with holding(short_dir, puppet) as held:
        task_id = held.task_id
        assert not await held.node.stop(timeout=0.05)
        assert puppet.ended.count == 1
    async with agent_node(short_dir, llm__provider="echo") as node, calling(node, short_dir) as peer:
        task = await client(peer, "1.0").get_task(GetTaskRequest(id=task_id))
        assert task.status.state == FAILED
        assert task.status.message.parts[0].text == "interrupted by restart"


async def test_a_task_that_ends_as_the_node_stops(short_dir: Path) -> None:
    """A task that nobody waits for and that ends while the node drains is there after the next start."""
    puppet = Puppet("a", then="hold")
    async with agent_node(short_dir, PromptExecutor(puppet)) as node, calling(node, short_dir) as peer:
        task_id = (await _begin(client(peer, "1.0"))).id
        await puppet.begun.reach()
        stopping = asyncio.create_task(node.stop())
        puppet.released.add()
        assert await stopping
    async with agent_node(short_dir, llm__provider="echo") as node, calling(node, short_dir) as peer:
        task = await client(peer, "1.0").get_task(GetTaskRequest(id=task_id))
        assert task.status.state == COMPLETED


async def test_a_blocking_executor(short_dir: Path) -> None:
    """An executor that holds its thread holds up its own agent, and not the node."""
    inside, release = threading.Event(), threading.Event()

    async def execute(context: Any, queue: Any) -> None:
        await queue.enqueue_event(submitted(context))
        inside.set()
        release.wait(5)
        await queue.enqueue_event(status(context, COMPLETED))

    async with agent_node(short_dir, Acting(execute)) as node, calling(node, short_dir) as peer:
        asking = asyncio.create_task(ask(client(peer, "1.0"), "hi"))
        assert await asyncio.to_thread(inside.wait, 5)
        await nodes.ping(nodes.control(peer))
        assert await state_of(peer) == (control_pb2.NODE_STATE_BUSY, 1)
        release.set()
        assert (await asking).status.state == COMPLETED


async def test_bad_settings(short_dir: Path) -> None:
    """A provider or a store that cannot be had keeps the node from starting, and is named."""
    (short_dir / "a").mkdir()
    for flags in (
        {"llm__provider": "echo", "llm__model": "?"},
        {"llm__provider": "echo", "agent__store": "?"},
    ):
        node = tndrl.Node(nodes.config(short_dir / "a", **flags))
        with pytest.raises(tndrl.TndrlError, match=r"llm\.model|agent\.store"):
            await node.__aenter__()
        assert node.state is NodeState.STOPPED
