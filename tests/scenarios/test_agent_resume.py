"""Answers that outlive their connection: each event comes once, in order, however often the way is lost (A2A-08)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import Part, StreamResponse, Task, TaskState, TaskStatus
from grpc.aio import AioRpcError, Metadata

import tndrl
from support import certs, nodes
from support.relay import Relay
from tndrl.agent.extensions import sequence_of
from tndrl.agent.wire import Wire10
from tndrl.agent.wire03 import Wire03

EVENTS = 200
OUTAGE = 0.04
"""Seconds of each cut."""
DOUBT = 0.02
"""Seconds after which the client believes that the port is closed; one second otherwise."""


class Paced(AgentExecutor):
    """Answers in as many events as it is told to, each when its turn is given."""

    def __init__(self, events: int) -> None:
        self._pieces = events - 3  # the task, its beginning and its end are events too
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = asyncio.Semaphore(0)
        self.began = threading.Event()

    def give_turn(self) -> None:
        """Let it go on with one event; call it once there is the first."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._turns.release)

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Answer."""
        self._loop = asyncio.get_running_loop()
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
        await event_queue.enqueue_event(
            Task(id=context.task_id, context_id=context.context_id, status=status)
        )
        self.began.set()
        await self._turns.acquire()
        await updater.start_work()
        for number in range(self._pieces):
            await self._turns.acquire()
            await updater.add_artifact([Part(text=f"{number} ")], artifact_id="reply", append=number > 0)
        await self._turns.acquire()
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Nobody cancels it."""
        raise NotImplementedError


@asynccontextmanager
async def stage(
    folder: Path, executor: AgentExecutor, *, idle: int = 1
) -> AsyncIterator[tuple[Relay, tndrl.Peer]]:
    """Yield a relay before a node with an agent, and the node as a peer behind the relay."""
    ours = nodes.config(folder / "b", certs.node_leaf("b"), transport__idleTimeout=idle)
    node = tndrl.Node(nodes.config(folder / "a"), executor=executor)
    async with (
        node,
        Relay(node.address, outage=OUTAGE) as relay,
        tndrl.connect(relay.address, config=ours) as peer,
    ):
        yield relay, peer


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("wire", "events"), [(Wire10, EVENTS), (Wire03, EVENTS // 10)])
async def test_every_event_over_a_connection_of_its_own(short_dir, monkeypatch, wire, events) -> None:
    """The connection is cut after each event of an answer; the caller sees all of them, once each."""
    monkeypatch.setattr("tndrl.transport.liveness.DOUBT_TIMEOUT", DOUBT)
    if wire is Wire03:
        monkeypatch.setattr("tndrl.agent.discovery.Wire10.card", _unimplemented)
    executor = Paced(events)
    async with stage(short_dir, executor) as (relay, peer), peer.agent() as agent:
        assert agent.version == wire.version
        seen: list[StreamResponse] = []
        async for event in agent.stream("count"):
            seen.append(event)
            relay.cut()
            executor.give_turn()
        assert [sequence_of(event) for event in seen] == list(range(1, events + 1))
        assert "".join(map(_text, seen)) == "".join(f"{number} " for number in range(events - 3))
        assert relay.connections >= events


async def test_a_node_that_falls_silent(short_dir, monkeypatch) -> None:
    """While an answer is awaited the node is probed, so its silence is noticed long before QUIC gives up."""
    monkeypatch.setattr("tndrl.agent.line.SILENCE", 0.1)
    monkeypatch.setattr("tndrl.agent.line.PROBE_TIMEOUT", 0.2)
    executor = Paced(10)
    async with stage(short_dir, executor, idle=600) as (relay, peer), peer.agent() as agent:
        seen: list[int | None] = []
        async with asyncio.timeout(20):
            async for event in agent.stream("count"):
                seen.append(sequence_of(event))
                relay.swallow()
                executor.give_turn()
        assert seen == list(range(1, 11))
        assert relay.connections >= 10


async def test_a_prompt_without_a_stream_is_repeated(short_dir, monkeypatch) -> None:
    """Who waits for a whole answer sends the prompt again after a loss, and there is one task and one answer."""
    monkeypatch.setattr("tndrl.transport.liveness.DOUBT_TIMEOUT", DOUBT)
    monkeypatch.setattr("tndrl.agent.line.SILENCE", 0.05)
    executor = Paced(5)
    async with stage(short_dir, executor) as (relay, peer), peer.agent() as agent:
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(agent.send("count"))
            await asyncio.to_thread(executor.began.wait, 10)
            relay.cut()
            while relay.connections < 2:
                await asyncio.wait({asking}, timeout=0.01)
            for _ in range(4):
                executor.give_turn()
        answer = asking.result()
        assert [part.text for part in answer.artifacts[0].parts] == ["0 ", "1 "]
        assert [task.id for task in await agent.list()] == [answer.id]


async def test_probing_a_node_that_is_gone(short_dir) -> None:
    """There is nothing to give up: why it went is known already."""
    async with (
        nodes.running(short_dir / "a") as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        await peer.probe(5)
        assert peer.failure is None
        probing = asyncio.ensure_future(peer.probe(5))
        await node.stop(reason="enough")
        await probing
        await peer.probe(5)


def _text(event: StreamResponse) -> str:
    return "".join(part.text for part in event.artifact_update.artifact.parts)


async def _unimplemented(_wire: Wire10) -> None:
    """Answer as a node does that speaks 0.3 only."""
    raise AioRpcError(grpc.StatusCode.UNIMPLEMENTED, Metadata(), Metadata())
