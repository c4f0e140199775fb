"""Nodes killed in the middle of their agents' work: what a caller was told stays true."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from a2a.client.client import Client, ClientCallContext
from a2a.client.errors import A2AClientError
from a2a.types import ListTasksRequest, StreamResponse, SubscribeToTaskRequest, Task, TaskState

from support import agents, nodes, processes
from support.durable import COMPLETED, FAILED, INPUT_REQUIRED, SUBMITTED, WORKING
from tndrl.agent.extensions import AFTER_KEY, sequence_of
from tndrl.agent.sweep import REASON

SERVE = (sys.executable, str(Path(processes.__file__).with_name("serve_crash_agent.py")))

TASKS = 100
AT_ONCE = 30
"""Messages on their way at once, beside those held: some have ended, and some were not sent, when a node is killed."""
HELD = 10
"""Tasks that are WORKING when a node is killed, every other time."""
ASKED = 10
"""Messages and subscriptions that a restarted node gets at once: each waits for an answer, not for a crowd's work."""
PATIENCE = 30.0
"""Seconds after which an answer counts as one that never comes: a hundred times what it takes on an idle machine."""
TERMINAL = (COMPLETED, FAILED)

CYCLES = [
    pytest.param(10, marks=pytest.mark.timeout(240)),
    pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
]


@dataclass
class Sent:
    """A message, and all that its caller was told."""

    message_id: str
    text: str
    events: list[StreamResponse] = field(default_factory=list)
    final: int = 0
    """The terminal state that the caller was told of."""
    task_id: str = ""

    def take(self, event: StreamResponse) -> None:
        """Remember an event."""
        self.events.append(event)
        if event.HasField("task"):
            self.task_id = event.task.id
        if self.state in TERMINAL:
            self.final = self.state

    @property
    def state(self) -> int:
        """The last state that the caller was told of."""
        told = [getattr(event, str(event.WhichOneof("payload"))) for event in self.events]
        return next((one.status.state for one in reversed(told) if hasattr(one, "status")), 0)


class Caller:
    """Sends messages to one run of the node, and counts the events that come."""

    def __init__(self, peer: object) -> None:
        self.unary: Client = agents.client(peer, "1.0")
        self.streaming: Client = agents.client(peer, "1.0", streaming=True)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._asked = asyncio.Semaphore(ASKED)
        self._answered = 0
        self._seen = asyncio.Condition()
        self._count = 0

    async def stream(self, sent: Sent) -> None:
        """Send a message and take what comes, until the node is gone."""
        message = agents.request(sent.text, message_id=sent.message_id)
        async with nullcontext() if sent.text == "hold" else self._turns:
            with suppress(A2AClientError):
                async for event in self.streaming.send_message(message):
                    sent.take(event)
                    async with self._seen:
                        self._count += 1
                        self._seen.notify_all()

    async def until(self, count: int) -> None:
        """Wait until so many events have come."""
        async with self._seen:
            await self._seen.wait_for(lambda: self._count >= count)

    async def again(self, sent: Sent) -> Task:
        """Send a message once more."""
        async with self._patience(f"message {sent.message_id}"):
            return await agents.ask(self.unary, sent.text, message_id=sent.message_id)

    async def replay(self, task_id: str) -> list[StreamResponse]:
        """Subscribe to a task from its first event on."""
        context = ClientCallContext(service_parameters={AFTER_KEY: "0"})
        events = self.streaming.subscribe(SubscribeToTaskRequest(id=task_id), context=context)
        async with self._patience(f"the subscription to {task_id}"):
            return [event async for event in events]

    async def tasks(self, status: int = 0) -> list[Task]:
        """Return all tasks, or those in one state."""
        found: list[Task] = []
        token = ""
        while True:
            page = await self.unary.list_tasks(
                ListTasksRequest(page_size=100, page_token=token, status=TaskState.Name(status))
            )
            found += page.tasks
            token = page.next_page_token
            if not token:
                return found

    @asynccontextmanager
    async def _patience(self, what: str) -> AsyncIterator[None]:
        """Wait for an answer when it is its turn; where none comes, tell whether others came meanwhile."""
        async with self._asked:
            before = self._answered
            try:
                async with asyncio.timeout(PATIENCE):
                    yield
            except TimeoutError:
                count = self._answered - before
                pytest.fail(f"{what} was not answered in {PATIENCE:g} s; {count} others were")
            self._answered += 1


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[processes.NodeProcess, Caller]]:
    """Run the node, with a caller."""
    file = processes.write_config(folder / "a")
    async with processes.starting(file, SERVE) as node:
        await node.ready()
        async with nodes.calling(folder / "b", "b", node.address) as peer:
            yield node, Caller(peer)


async def load_and_kill(
    node: processes.NodeProcess, caller: Caller, sent: list[Sent], dice: random.Random
) -> None:
    """Send all messages; kill the node at a random event, but with those WORKING that are held."""
    held = [one for one in sent if one.text == "hold"]
    async with asyncio.TaskGroup() as group:
        for one in held:
            group.create_task(caller.stream(one))
        await caller.until(5 * len(held))
        assert [one.state for one in held] == [WORKING] * len(held)
        for one in sent:
            if one not in held:
                group.create_task(caller.stream(one))
        await caller.until(5 * len(held) + dice.randrange(5 * (TASKS - len(held))))
        node.signal(signal.SIGKILL)
        await node.process.wait()


async def check(caller: Caller, sent: list[Sent]) -> dict[str, int]:
    """Hold a node that was killed to what it told; return the state of each task."""
    for state in (SUBMITTED, WORKING):
        assert not await caller.tasks(state)
    found = await asyncio.gather(*(check_one(caller, one) for one in sent))
    ids = [task.id for task in found]
    assert len(set(ids)) == len(sent)
    waiting = [task for task in found if task.status.state == INPUT_REQUIRED][:5]
    for task in waiting:
        task.CopyFrom(await agents.ask(caller.unary, "end", task_id=task.id))
        assert task.status.state == COMPLETED
    return {task.id: task.status.state for task in found}


async def check_one(caller: Caller, sent: Sent) -> Task:
    """Send a message again: it must have the task that it had, as far as that was told."""
    task = await caller.again(sent)
    assert task.id == (sent.task_id or task.id)
    assert task.status.state == (sent.final or task.status.state)
    assert task.status.state in (*TERMINAL, INPUT_REQUIRED)
    if task.status.state == FAILED:
        assert task.status.message.parts[0].text == REASON
    if sent.text == "hold":
        assert task.status.state == FAILED
    events = await caller.replay(task.id)
    assert events[: len(sent.events)] == sent.events
    assert [sequence_of(event) for event in events] == list(range(1, len(events) + 1))
    return task


@pytest.mark.parametrize("cycles", CYCLES)
async def test_killed_at_random(short_dir: Path, cycles: int) -> None:
    """Whenever a node is killed: no task is lost or made twice, none changes its end, none runs without a worker."""
    dice = random.Random(cycles)
    known: dict[str, int] = {}
    sent: list[Sent] = []
    for cycle in range(cycles):
        async with running(short_dir) as (node, caller):
            known |= await check(caller, sent)
            held = HELD if cycle % 2 else 0
            texts = ["hold"] * held + dice.choices(["end", "ask"], [3, 1], k=TASKS - held)
            sent = [Sent(f"{cycle}-{number}", text) for number, text in enumerate(texts)]
            await load_and_kill(node, caller, sent, dice)
    async with running(short_dir) as (_, caller):
        known |= await check(caller, sent)
        assert {task.id: task.status.state for task in await caller.tasks()} == known
    assert len(known) == cycles * TASKS
