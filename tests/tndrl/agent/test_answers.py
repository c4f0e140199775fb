"""The events of an answer, in both manners."""

from __future__ import annotations

from a2a.types import Message, Task, TaskArtifactUpdateEvent, TaskState

from support.agents import COMPLETED, WORKING, context
from tndrl.agent.answers import TERMINAL, ArtifactAnswer, MessageAnswer, answer_for, status, submitted


def test_a_new_task() -> None:
    """A task begins SUBMITTED, with a time, its message and the IDs of the request."""
    given = context("hello")
    task = submitted(given)
    assert (task.id, task.context_id) == (given.task_id, given.context_id)
    assert (task.status.state, task.status.HasField("timestamp")) == (TaskState.TASK_STATE_SUBMITTED, True)
    assert [part.text for message in task.history for part in message.parts] == ["hello"]


def test_a_status() -> None:
    """A status has a time, and a message of the agent only where there is something to say."""
    silent, spoken = status(context(), WORKING), status(context(), WORKING, "well")
    assert (silent.status.HasField("message"), silent.status.HasField("timestamp")) == (False, True)
    message: Message = spoken.status.message
    assert (message.parts[0].text, message.task_id) == ("well", spoken.task_id)
    assert message.message_id


def test_an_artifact_grows() -> None:
    """In 1.0 the first text makes the artifact, the next ones are appended, and the end repeats nothing."""
    answer = ArtifactAnswer(context())
    first, second, end = answer.text("a"), answer.text("b"), answer.completed("ab")
    assert [(event.append, event.artifact.parts[0].text) for event in (first, second)] == [
        (False, "a"),
        (True, "b"),
    ]
    assert first.artifact.artifact_id == second.artifact.artifact_id
    assert (end.status.state, end.status.HasField("message")) == (COMPLETED, False)


def test_messages_of_a_task_at_work() -> None:
    """In 0.3 texts are messages of a task that is WORKING, and the end has all of it."""
    answer = MessageAnswer(context())
    text, end = answer.text("a"), answer.completed("ab")
    assert (text.status.state, text.status.message.parts[0].text) == (WORKING, "a")
    assert (end.status.state, end.status.message.parts[0].text) == (COMPLETED, "ab")


def test_the_callers_version_decides() -> None:
    """Who calls the service of 0.3 gets messages, everybody else artifacts."""
    assert isinstance(answer_for(context(version="0.3")), MessageAnswer)
    assert isinstance(answer_for(context(version="1.0")).text("a"), TaskArtifactUpdateEvent)


def test_terminal_states() -> None:
    """What the SDK holds for the end of a task is what we hold for it."""
    from a2a.server.agent_execution import active_task

    assert active_task.TERMINAL_TASK_STATES == TERMINAL
    assert Task().status.state not in TERMINAL
