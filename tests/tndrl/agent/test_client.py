"""Calling an agent: what is sent, what comes back, and what happens when the connection dies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from a2a.types.a2a_pb2 import ListTasksResponse, StreamResponse, TaskState

from support import scripted_agent as scripted
from support.scripted_agent import COMPLETED, TASK, WORKING, Script, Scripted03, Scripted10
from tndrl.agent.client import AgentClient, open_agent
from tndrl.agent.extensions import sequence_of
from tndrl.errors import AgentCallError, CertificateRefusedError, PortClosedError

LOST = grpc.StatusCode.UNAVAILABLE
VERSIONS = pytest.mark.parametrize("version", [Scripted10, Scripted03])


@asynccontextmanager
async def calling(folder: Path, script: Script, version=Scripted10, **options) -> AsyncIterator[AgentClient]:
    """Serve a script in one version and yield a client of it."""
    async with scripted.serving(folder, script, [version]) as line, open_agent(line, **options) as agent:
        yield agent


async def numbers(events: AsyncIterator[StreamResponse]) -> list[int | None]:
    """Return the numbers of all events."""
    return [sequence_of(event) async for event in events]


@VERSIONS
async def test_send_returns_the_task(short_dir, version) -> None:
    """A prompt goes out with the IDs it continues, and the whole task comes back."""
    script = Script()
    async with calling(short_dir, script, version) as agent:
        answer = await agent.send("hello", task_id="t", context_id="c", message_id="m")
    (message,) = script.messages
    assert (message.task_id, message.context_id, message.message_id) == ("t", "c", "m")
    assert [part.text for part in message.parts] == ["hello"]
    assert (answer.id, answer.status.state) == (TASK, COMPLETED)


@VERSIONS
async def test_send_returns_a_message(short_dir, version) -> None:
    """An agent may answer with a message and without a task."""
    async with calling(short_dir, Script(result=scripted.said("hi")), version) as agent:
        answer = await agent.send("hello")
    assert [part.text for part in answer.parts] == ["hi"]


async def test_each_prompt_has_an_id_of_its_own(short_dir) -> None:
    """Two prompts with the same text are two messages."""
    script = Script()
    async with calling(short_dir, script) as agent:
        await agent.send("again")
        await agent.send("again")
    assert len({message.message_id for message in script.messages}) == 2


async def test_a_lost_prompt_is_sent_again_with_its_id(short_dir) -> None:
    """The agent sees the same message ID, so it does the work once."""
    script = Script(refusals=[LOST])
    async with calling(short_dir, script) as agent:
        await agent.send("hello")
    first, second = script.messages
    assert first.message_id == second.message_id != ""


async def test_a_prompt_is_not_repeated_to_an_agent_that_would_answer_twice(short_dir) -> None:
    """Without the extension nobody promises that a repeated message is one task."""
    script = Script(card=scripted.card(numbered=False), refusals=[LOST])
    async with calling(short_dir, script) as agent:
        with pytest.raises(AgentCallError):
            await agent.send("hello")
    assert len(script.messages) == 1


async def test_a_node_that_refuses_prompts_is_asked_twice(short_dir) -> None:
    """Where the connection lives, the refusal is raised and not waited out."""
    script = Script(refusals=[LOST] * 9)
    async with calling(short_dir, script) as agent:
        for prompt in (lambda: agent.send("hello"), lambda: numbers(agent.stream("hello"))):
            script.messages.clear()
            with pytest.raises(AgentCallError) as caught:
                await prompt()
            assert (caught.value.status, len(script.messages)) == ("UNAVAILABLE", 2)


async def test_refusals_are_not_repeated(short_dir) -> None:
    """An error that is not a loss is raised at once, with its status."""
    script = Script(refusals=[grpc.StatusCode.INVALID_ARGUMENT])
    async with calling(short_dir, script) as agent:
        with pytest.raises(AgentCallError, match="as the script says") as caught:
            await agent.send("")
    assert (caught.value.status, len(script.messages)) == ("INVALID_ARGUMENT", 1)


@VERSIONS
async def test_a_stream_that_is_cut_after_every_event_misses_nothing(short_dir, version) -> None:
    """Each subscription names the last number seen; every event comes once, in order."""
    script = Script(events=scripted.answer(20), per_call=1)
    async with calling(short_dir, script, version) as agent:
        assert await numbers(agent.stream("hello")) == list(range(1, 23))
    assert script.subscriptions == [str(number) for number in range(1, 22)]
    assert len(script.messages) == 1


async def test_a_stream_that_ends_too_early_is_resumed(short_dir) -> None:
    """A stream that ends in good order before the task does was cut all the same."""
    script = Script(per_call=2, ends=grpc.StatusCode.OK)
    async with calling(short_dir, script) as agent:
        assert await numbers(agent.stream("hello")) == [1, 2, 3, 4, 5]


async def test_a_stream_lost_before_its_first_event_is_sent_again(short_dir) -> None:
    """The same message ID goes out again, and the answer is whole."""
    script = Script(refusals=[LOST])
    async with calling(short_dir, script) as agent:
        assert await numbers(agent.stream("hello")) == [1, 2, 3, 4, 5]
    assert len({message.message_id for message in script.messages}) == 1


async def test_events_that_come_again_are_dropped(short_dir) -> None:
    """An agent that repeats itself disturbs nobody."""
    events = scripted.answer(2)
    script = Script(events=[events[0], events[1], events[0], events[1], *events[2:]])
    async with calling(short_dir, script) as agent:
        assert await numbers(agent.stream("hello")) == [1, 2, 3, 4]


async def test_a_loss_without_numbers_is_raised(short_dir) -> None:
    """Where events have no numbers nothing could tell what is missing; the error says what to do."""
    script = Script(card=scripted.card(numbered=False), per_call=2)
    async with calling(short_dir, script) as agent:
        with pytest.raises(AgentCallError) as caught:
            await numbers(agent.stream("hello"))
    assert TASK in caught.value.__notes__[0]
    assert script.subscriptions == []


async def test_an_outage_is_given_up_in_the_end(short_dir) -> None:
    """After the time without progress the cause of the last failure is raised."""
    script = Script(per_call=2)
    async with scripted.serving(short_dir, script) as line, open_agent(line, resume_timeout=0.3) as agent:
        events = agent.stream("hello")
        await anext(events)
        script.events = []
        line.failure = PortClosedError("a:1")
        with pytest.raises(AgentCallError) as caught:
            await numbers(events)
    assert caught.value.status == "ABORTED"


async def test_a_refused_certificate_ends_the_stream_at_once(short_dir) -> None:
    """Nobody comes back to a peer that no longer accepts us."""
    script = Script(per_call=1)
    refusal = CertificateRefusedError("a:1", 48, "unknown_ca", "")
    async with scripted.serving(short_dir, script) as line, open_agent(line) as agent:
        events = agent.stream("hello")
        await anext(events)
        line.failure = refusal
        with pytest.raises(CertificateRefusedError):
            await anext(events)
    assert script.subscriptions == []


@pytest.mark.parametrize("state", [TaskState.TASK_STATE_INPUT_REQUIRED, TaskState.TASK_STATE_AUTH_REQUIRED])
async def test_a_stream_ends_when_the_task_waits_for_its_caller(short_dir, state) -> None:
    """The end of the stream is the end, not a loss."""
    script = Script(events=scripted.numbered([scripted.status(state, "which one?")]))
    async with calling(short_dir, script) as agent:
        assert await numbers(agent.stream("hello")) == [1]
    assert script.subscriptions == []


async def test_a_message_ends_the_stream(short_dir) -> None:
    """An answer without a task is one event."""
    script = Script(events=[StreamResponse(message=scripted.said("hi"))])
    async with calling(short_dir, script) as agent:
        (event,) = [event async for event in agent.stream("hello")]
    assert event.message.parts[0].text == "hi"


async def test_nothing_follows_the_end_of_a_task(short_dir) -> None:
    """What an agent sends after a task's end is not handed on."""
    script = Script(events=scripted.numbered([scripted.status(COMPLETED), scripted.status(WORKING)]))
    async with calling(short_dir, script) as agent:
        assert await numbers(agent.stream("hello")) == [1]


@VERSIONS
async def test_watch_begins_with_the_first_event(short_dir, version) -> None:
    """Watching shows the whole task, over as many connections as it takes."""
    script = Script(per_call=3)
    async with calling(short_dir, script, version) as agent:
        assert await numbers(agent.watch(TASK)) == [1, 2, 3, 4, 5]
    assert script.subscriptions == ["0", "3"]


async def test_watch_asks_a_plain_agent_for_no_numbers(short_dir) -> None:
    """Agents of others see an ordinary subscription."""
    script = Script(card=scripted.card(numbered=False))
    async with calling(short_dir, script) as agent:
        await numbers(agent.watch(TASK))
    assert script.subscriptions == [None]


@VERSIONS
async def test_get_and_cancel(short_dir, version) -> None:
    """A task is read and cancelled by its ID."""
    async with calling(short_dir, Script(), version) as agent:
        assert (await agent.get("t")).id == "t"
        assert (await agent.cancel("t")).status.state == TaskState.TASK_STATE_CANCELED


async def test_list_follows_pages(short_dir) -> None:
    """All pages are read, until there are no more."""
    pages = {
        "": ListTasksResponse(tasks=[scripted.task(task_id="1")], next_page_token="next"),  # noqa: S106
        "next": ListTasksResponse(tasks=[scripted.task(task_id="2")]),
    }
    async with calling(short_dir, Script(pages=pages)) as agent:
        assert [task.id for task in await agent.list()] == ["1", "2"]
        assert [task.id for task in await agent.list(limit=1)] == ["1"]


async def test_list_ends_where_pages_repeat(short_dir) -> None:
    """An agent that turns the same page for ever is left alone."""
    page = ListTasksResponse(tasks=[scripted.task(task_id="1")], next_page_token="next")  # noqa: S106
    async with calling(short_dir, Script(pages={"": page, "next": page})) as agent:
        assert [task.id for task in await agent.list()] == ["1"]


async def test_old_agents_list_nothing(short_dir) -> None:
    """A2A 0.3 has no such call, and the error says so."""
    async with calling(short_dir, Script(), Scripted03) as agent:
        with pytest.raises(AgentCallError, match=r"0\.3 cannot list") as caught:
            await agent.list()
    assert caught.value.status == "UNIMPLEMENTED"


async def test_unknown_tasks_are_named(short_dir) -> None:
    """NOT_FOUND comes with the address, the status and what to do."""
    script = Script(refusals=[grpc.StatusCode.NOT_FOUND] * 2)
    async with calling(short_dir, script) as agent:
        for call in (agent.get, agent.cancel):
            with pytest.raises(AgentCallError, match="task list") as caught:
                await call("t")
            assert (caught.value.address, caught.value.status) == ("a:1", "NOT_FOUND")


async def test_an_agent_says_how_it_is_spoken_to(short_dir) -> None:
    """Its text names version, identity and address."""
    async with calling(short_dir, Script(), Scripted03) as agent:
        assert repr(agent) == "<AgentClient A2A 0.3, spiffe://tndrl/node/a at a:1>"
