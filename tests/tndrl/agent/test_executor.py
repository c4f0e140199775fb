"""Messages answered by a provider."""

from __future__ import annotations

import asyncio

import pytest
from a2a.types import Part, Role, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus
from a2a.utils.errors import ContentTypeNotSupportedError

from support.agents import CANCELED, COMPLETED, FAILED, WORKING, Collector, Puppet, context
from tndrl.agent.executor import PromptExecutor
from tndrl.errors import ProviderError
from tndrl.llm.provider import Turn

SUBMITTED = TaskState.TASK_STATE_SUBMITTED


async def test_an_answer() -> None:
    """The task comes first, then that it is WORKING, the answer, and one end."""
    queue = Collector()
    await PromptExecutor(Puppet("a", "b")).execute(context(), queue)
    assert isinstance(queue.events[0], Task)
    assert queue.states == [SUBMITTED, WORKING, COMPLETED]
    (text,) = (event for event in queue.events if isinstance(event, TaskArtifactUpdateEvent))
    assert text.artifact.parts[0].text == "ab"


async def test_an_answer_in_03() -> None:
    """A caller of 0.3 gets the answer in messages, and all of it in the last."""
    queue = Collector()
    await PromptExecutor(Puppet("a", "b")).execute(context(version="0.3"), queue)
    assert queue.states == [SUBMITTED, WORKING, WORKING, COMPLETED]
    assert queue.reason == "ab"


async def test_the_whole_message() -> None:
    """All text parts reach the provider."""
    puppet = Puppet()
    await PromptExecutor(puppet).execute(context(parts=[Part(text="a"), Part(text="b")]), Collector())
    assert puppet.asked == [(Turn("user", "a\nb"),)]


async def test_other_parts() -> None:
    """A part that it does not take is refused before anything is published or asked."""
    puppet, queue = Puppet(), Collector()
    with pytest.raises(ContentTypeNotSupportedError):
        await PromptExecutor(puppet).execute(context(parts=[Part(url="http://a/")]), queue)
    assert (puppet.asked, queue.events) == ([], [])


async def test_a_task_goes_on() -> None:
    """A message for a task that there is publishes no second one."""
    task = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.TASK_STATE_INPUT_REQUIRED))
    queue, given = Collector(), context(task=task)
    await PromptExecutor(Puppet()).execute(given, queue)
    assert queue.states == [WORKING, COMPLETED]


async def test_conversations() -> None:
    """The provider is told what was said in the conversation before, by this caller only."""
    puppet = Puppet("fine")
    executor = PromptExecutor(puppet)
    for owner in ("a", "a", "b"):
        await executor.execute(context("how are you?", owner=owner, context_id="c"), Collector())
    question, answer = Turn("user", "how are you?"), Turn("agent", "fine")
    assert puppet.asked == [(question,), (question, answer, question), (question,)]


async def test_a_provider_that_fails() -> None:
    """What was said so far is published, then FAILED with the provider's reason, and nothing is remembered."""
    puppet, queue = Puppet("a", then=ProviderError("the model is away")), Collector()
    executor = PromptExecutor(puppet)
    await executor.execute(context(context_id="c"), queue)
    assert queue.states == [SUBMITTED, WORKING, FAILED]
    assert queue.reason == "the model is away"
    await executor.execute(context(context_id="c"), Collector())
    assert len(puppet.asked[1]) == 1


async def test_a_provider_with_a_fault() -> None:
    """A fault is raised: whoever runs the executor keeps it from the peer."""
    with pytest.raises(ZeroDivisionError):
        await PromptExecutor(Puppet(then=ZeroDivisionError())).execute(context(), Collector())


async def test_cancelling() -> None:
    """A cancelled task ends CANCELED once, after the provider's work has ended, and is not remembered."""
    puppet = Puppet(then="hold")
    queue = Collector(lambda event: seen.append((event, puppet.ended.count)))
    executor, given, seen = PromptExecutor(puppet), context(context_id="c"), []
    running = asyncio.create_task(executor.execute(given, queue))
    await puppet.begun.reach()
    await executor.cancel(given, queue)
    assert queue.states == [SUBMITTED, WORKING, CANCELED]
    assert seen[-1][1] == 1
    await running
    await executor.cancel(context(task=Task(id="other", context_id="c")), other := Collector())
    assert other.states == [CANCELED]


async def test_cancelling_what_has_just_ended() -> None:
    """A cancellation that comes as the task ends publishes nothing, and waits until the end is published."""
    done = []

    def on_event(event: object) -> None:
        if queue.states[-1] == COMPLETED:
            done.append(asyncio.create_task(executor.cancel(given, late)))

    queue, late, given = Collector(on_event), Collector(), context()
    executor = PromptExecutor(Puppet("a"))
    await executor.execute(given, queue)
    await asyncio.gather(*done)
    assert (len(done), queue.states[-1], late.states) == (1, COMPLETED, [CANCELED])


async def test_cancelled_before_the_provider_was_asked() -> None:
    """A cancellation that comes while the task is being made stops it there."""
    puppet, given = Puppet("a"), context()
    stopping = []

    def on_event(event: object) -> None:
        if isinstance(event, Task):
            stopping.append(asyncio.create_task(executor.cancel(given, queue)))

    class Slow(Collector):
        async def enqueue_event(self, event: object) -> None:
            await super().enqueue_event(event)
            await asyncio.sleep(0)

    queue, executor = Slow(on_event), PromptExecutor(puppet)
    await executor.execute(given, queue)
    await asyncio.gather(*stopping)
    assert (queue.states, puppet.begun.count) == ([SUBMITTED, WORKING, CANCELED], 0)


async def test_cancelled_from_outside() -> None:
    """When its task of asyncio is cancelled, the provider's work ends and the A2A task stays as it is."""
    puppet, queue = Puppet("a", then="hold"), Collector()
    executor = PromptExecutor(puppet)
    running = asyncio.create_task(executor.execute(context(), queue))
    await puppet.begun.reach()
    running.cancel()
    await asyncio.wait({running})
    assert (running.cancelled(), queue.states, puppet.ended.count) == (True, [SUBMITTED, WORKING], 1)
    assert repr(executor).endswith("0 running>")


def test_roles_are_not_its_business() -> None:
    """It takes a message by its parts; whose message it is was asked before."""
    given = context("a", role=Role.ROLE_AGENT)
    assert PromptExecutor(Puppet()).prompt_of(given.message) == "a"
