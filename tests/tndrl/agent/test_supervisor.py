"""What holds for every executor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from a2a.server.agent_execution import RequestContext
from a2a.types import Message, Task, TaskState, TaskStatus
from a2a.utils.errors import InvalidAgentResponseError, InvalidParamsError, UnsupportedOperationError

from support.agents import CANCELED, COMPLETED, FAILED, WORKING, Acting, Collector, context
from tndrl.agent import supervisor
from tndrl.agent.answers import ArtifactAnswer, status, submitted
from tndrl.agent.supervisor import SupervisedExecutor

INPUT_REQUIRED = TaskState.TASK_STATE_INPUT_REQUIRED
SUBMITTED = TaskState.TASK_STATE_SUBMITTED
RUNNING = Task(id="t", context_id="c", status=TaskStatus(state=WORKING))
GENERIC = "the agent failed; the log of its node says why"

Steps = Callable[[RequestContext, Any], Awaitable[None]]


def publishing(*states: TaskState, then: Exception | None = None) -> Steps:
    """Return an ``execute`` that publishes the task in each state, and then raises."""

    async def execute(context: RequestContext, queue: Any) -> None:
        if states:
            await queue.enqueue_event(submitted(context))
        for state in states:
            await queue.enqueue_event(status(context, state))
        if then is not None:
            raise then

    return execute


async def supervised(execute: Steps, given: RequestContext | None = None) -> Collector:
    """Return what is published when a supervised executor executes a message; every event is stored at once."""
    executor = SupervisedExecutor(Acting(execute))

    def store(event: Any) -> None:
        if hasattr(event, "status"):
            executor.note_stored(Task(id=getattr(event, "task_id", ""), status=event.status))

    queue = Collector(store)
    await executor.execute(given or context(), queue)
    assert executor.running == 0
    return queue


@pytest.mark.parametrize(
    "state", [COMPLETED, FAILED, CANCELED, TaskState.TASK_STATE_REJECTED, INPUT_REQUIRED]
)
async def test_a_good_executor(state: TaskState) -> None:
    """What ends its task, or leaves it to the caller, is handed on as it is."""
    assert (await supervised(publishing(WORKING, state))).states == [SUBMITTED, WORKING, state]


async def test_an_answer_without_a_task() -> None:
    """A message is an answer."""

    async def answer(_context: RequestContext, queue: Any) -> None:
        await queue.enqueue_event(Message(message_id="m"))

    assert len((await supervised(answer)).events) == 1


@pytest.mark.parametrize("states", [(), (WORKING,)])
async def test_no_end(states: tuple[TaskState, ...], caplog: pytest.LogCaptureFixture) -> None:
    """An executor that ends before its task does, or without a word, has FAILED it: nobody waits for ever."""
    queue = await supervised(publishing(*states))
    assert queue.states == [SUBMITTED, *states, FAILED]
    assert queue.reason == "the agent ended without an answer"
    assert "without an end" in caplog.text


@pytest.mark.parametrize("states", [(), (WORKING,)])
async def test_a_fault(states: tuple[TaskState, ...], caplog: pytest.LogCaptureFixture) -> None:
    """An exception makes the task FAILED; its text stands in the log, and no peer gets it."""
    queue = await supervised(publishing(*states, then=ValueError("secret")))
    assert (queue.states, queue.reason) == ([SUBMITTED, *states, FAILED], GENERIC)
    assert "secret" in caplog.text


async def test_a_fault_after_the_end() -> None:
    """An exception after the end changes nothing."""
    queue = await supervised(publishing(COMPLETED, then=ValueError("secret")))
    assert queue.states == [SUBMITTED, COMPLETED]


async def test_a_fault_in_an_artifact_mode() -> None:
    """An artifact alone makes a task as well, which a fault ends."""

    async def execute(context: RequestContext, queue: Any) -> None:
        await queue.enqueue_event(ArtifactAnswer(context).text("a"))
        raise ValueError("secret")

    assert (await supervised(execute)).states == [FAILED]


async def test_errors_of_the_protocol() -> None:
    """An error of A2A is raised while there is no task, for the caller; later its text is the task's reason."""
    with pytest.raises(InvalidParamsError):
        await supervised(publishing(then=InvalidParamsError(message="no")))
    queue = await supervised(publishing(WORKING, then=InvalidParamsError(message="no\x1b")))
    assert (queue.states[-1], queue.reason) == (FAILED, "no\\x1b")


async def test_a_message_that_came_too_late() -> None:
    """A message that waited until its task had ended is not executed."""
    task = Task(id="t", context_id="c", status=TaskStatus(state=COMPLETED))
    assert (await supervised(publishing(WORKING), context(task=task))).events == []


async def test_running_tasks_are_counted() -> None:
    """A task runs from its start until its end is stored, and each change is told."""
    seen, ends = [], asyncio.Semaphore(0)

    async def execute(given: RequestContext, queue: Any) -> None:
        await publishing(COMPLETED)(given, queue)
        ends.release()

    executor = SupervisedExecutor(Acting(execute), lambda: seen.append(executor.running))
    tasks = [asyncio.create_task(executor.execute(context(task_id=name), Collector())) for name in "ab"]
    for _ in tasks:
        await ends.acquire()
    assert (executor.running, executor.total, repr(executor)[-10:]) == (2, 2, "2 running>")
    for name, state in (("a", WORKING), ("zz", COMPLETED), ("a", COMPLETED), ("b", COMPLETED)):
        executor.note_stored(Task(id=name, status=TaskStatus(state=state)))
    await asyncio.gather(*tasks)
    assert seen == [1, 2, 1, 0]


async def test_an_end_that_is_not_stored(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that does not answer does not keep a task running for ever."""
    monkeypatch.setattr(supervisor, "STORE_TIMEOUT", 0.01)
    executor = SupervisedExecutor(Acting(publishing(COMPLETED)))
    await executor.execute(context(), Collector())
    assert executor.running == 0
    assert "was not stored" in caplog.text


async def test_a_good_cancellation() -> None:
    """An executor that ends the task as it should is left to it."""
    executor = SupervisedExecutor(Acting(publishing(), publishing(CANCELED)))
    await executor.cancel(context(task=RUNNING), queue := Collector())
    assert queue.states == [SUBMITTED, CANCELED]


@pytest.mark.parametrize("fault", [None, ValueError("secret"), UnsupportedOperationError()])
async def test_a_cancellation_that_says_nothing(fault: Exception | None) -> None:
    """An executor that cannot cancel, or does so in silence, has its task CANCELED all the same."""
    executor = SupervisedExecutor(Acting(publishing(), publishing(then=fault)))
    await executor.cancel(context(task=RUNNING), queue := Collector())
    assert queue.states == [CANCELED]


async def test_a_cancellation_without_an_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An executor that does not come to an end with cancelling is given up."""
    monkeypatch.setattr(supervisor, "CANCEL_TIMEOUT", 0.01)

    async def hang(_context: RequestContext, _queue: Any) -> None:
        await asyncio.Event().wait()

    executor = SupervisedExecutor(Acting(publishing(), hang))
    await executor.cancel(context(task=RUNNING), queue := Collector())
    assert queue.states == [CANCELED]
    assert "did not cancel" in caplog.text


async def test_an_end_elsewhere() -> None:
    """An end that ``execute`` publishes while it is cancelled is the only one."""
    cancelling, ended, given = asyncio.Event(), asyncio.Event(), context()

    async def execute(context: RequestContext, queue: Any) -> None:
        await publishing(WORKING)(context, queue)
        await cancelling.wait()
        await queue.enqueue_event(status(context, CANCELED))
        ended.set()

    async def cancel(_context: RequestContext, _queue: Any) -> None:
        cancelling.set()
        await ended.wait()

    executor, queue = SupervisedExecutor(Acting(execute, cancel)), Collector()
    running = asyncio.create_task(executor.execute(given, queue))
    await asyncio.sleep(0)
    await executor.cancel(given, late := Collector())
    assert (queue.states.count(CANCELED), late.events) == (1, [])
    executor.note_stored(Task(id=given.task_id, status=TaskStatus(state=CANCELED)))
    await running


async def _status_first(context: RequestContext, queue: Any) -> None:
    await queue.enqueue_event(status(context, COMPLETED))


async def _anothers(context: RequestContext, queue: Any) -> None:
    await queue.enqueue_event(Task(id="another"))


async def _two_messages(_context: RequestContext, queue: Any) -> None:
    for _ in range(2):
        await queue.enqueue_event(Message(message_id="m"))


async def _message_then_task(context: RequestContext, queue: Any) -> None:
    await queue.enqueue_event(Message(message_id="m"))
    await queue.enqueue_event(submitted(context))


@pytest.mark.parametrize("execute", [_status_first, _anothers, _two_messages, _message_then_task])
async def test_events_against_the_rules(execute: Steps) -> None:
    """What the SDK would give a task up for is the executor's error, and is not handed on."""
    with pytest.raises(InvalidAgentResponseError):
        await supervised(execute)


async def test_a_message_beside_a_task() -> None:
    """So is a message of an agent that has made a task, which has FAILED then."""

    async def execute(context: RequestContext, queue: Any) -> None:
        await queue.enqueue_event(submitted(context))
        await queue.enqueue_event(Message(message_id="m"))

    queue = await supervised(execute)
    assert (queue.states, queue.reason) == (
        [SUBMITTED, FAILED],
        "the agent sent a message beside another answer",
    )
