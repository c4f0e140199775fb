"""What the commands that call an agent share."""

from __future__ import annotations

import asyncio
import json

import pytest
from a2a.types.a2a_pb2 import Part, StreamResponse, Task, TaskState, TaskStatus

from support import nodes
from support import scripted_agent as scripted
from tndrl.errors import NoAgentError
from tndrl_cli.agents import (
    AnswerWriter,
    agent_of,
    as_record,
    check_outcome,
    message_record,
    readable,
    state_name,
    task_text,
    text_of,
    updated,
)
from tndrl_cli.errors import TaskError
from tndrl_cli.options import Invocation
from tndrl_cli.output import Output

COMPLETED, WORKING = scripted.COMPLETED, scripted.WORKING
FAILED, WAITING = TaskState.TASK_STATE_FAILED, TaskState.TASK_STATE_INPUT_REQUIRED


@pytest.fixture
def write(capsys):
    """Returns what a person, or a program, is shown of events."""

    def shown(*events: StreamResponse, as_json: bool = False) -> str:
        async def coming():
            for event in events:
                yield event

        asyncio.run(AnswerWriter("a:1", Output(as_json=as_json)).write(coming()))
        return capsys.readouterr().out

    return shown


async def test_a_node_without_an_agent(short_dir):
    """The command ends with the error that says so."""
    async with nodes.running(short_dir) as node:
        with pytest.raises(NoAgentError):
            async with agent_of(node.address, Invocation(nodes.config(short_dir), Output(as_json=False))):
                pass


def test_hostile_text():
    """Lines and tabs stay, what moves the cursor or hides text is escaped, letters of any script stay."""
    assert readable("a\n\tb\x1b[2J\u202e\r\x9b") == "a\n\tb\\x1b[2J\\u202e\\r\\x9b"
    assert readable("çé 你好 🙂") == "çé 你好 🙂"


def test_parts():
    """Text is shown, what is none is named."""
    parts = [
        Part(text="a"),
        Part(raw=b"x", filename="f", media_type="image/png"),
        Part(url="http://x"),
        Part(),
    ]
    assert text_of(parts) == "a[raw f image/png][url][empty]"


def test_the_answer_of_a_task():
    """It is in the artifacts, or in the message of the status."""
    task = Task(status=TaskStatus(message=scripted.said("done")))
    assert task_text(task) == "done"
    for text in ("one", "two"):
        task.artifacts.add().parts.add(text=text)
    assert task_text(task) == "one\ntwo"


def test_states():
    """A state of a later version is shown as its number."""
    assert [state_name(state) for state in (COMPLETED, WAITING, 77)] == ["COMPLETED", "INPUT_REQUIRED", "77"]


def test_times():
    """None is empty, and an impossible one is no reason to fail."""
    status = TaskStatus()
    assert updated(status) == ""
    status.timestamp.seconds = 1
    assert updated(status) == "1970-01-01T00:00:01Z"
    status.timestamp.seconds = 1 << 60
    assert updated(status) == "unknown"


def test_records():
    """Tasks and messages are plain data."""
    assert as_record(scripted.task()) == {
        "task_id": scripted.TASK,
        "context_id": "context",
        "state": "COMPLETED",
        "updated": "",
    }
    failed = Task(status=TaskStatus(state=FAILED, message=scripted.said("broken")))
    assert (as_record(failed)["reason"], task_text(failed)) == ("broken", "")
    assert message_record(scripted.said("hi")) == {"role": "agent", "text": "hi"}


@pytest.mark.parametrize("state", ["FAILED", "REJECTED", "CANCELED", "WORKING", "77"])
def test_bad_ends(state):
    """A task that did not end well is an error with its reason, shortened and escaped."""
    with pytest.raises(TaskError) as caught:
        check_outcome("a:1", "t", state, "no\x1b" + "x" * 1000)
    assert str(caught.value).startswith(f"task t at a:1 is {state}: no\\x1bx")
    assert len(str(caught.value)) < 300


def test_waiting(capsys):
    """A task that waits for its caller is no error; standard error says how to answer it."""
    check_outcome("a:1", "t", "INPUT_REQUIRED", "")
    assert capsys.readouterr().err == "tndrl: the agent waits for an answer; send it with --task t\n"


def test_pieces(write):
    """Pieces are written as they come and the last line is ended."""
    assert write(*scripted.answer(3)) == "0 1 2 \n"


def test_an_old_agents_answer(write):
    """What A2A 0.3 tells by states is not told again by the last of them."""
    events = [scripted.status(WORKING, "a"), scripted.status(WORKING, "b"), scripted.status(COMPLETED, "ab")]
    assert write(*events) == "ab\n"
    assert write(scripted.status(WORKING), scripted.status(COMPLETED, "all")) == "all\n"


def test_a_question(write):
    """What a waiting task asks is shown."""
    assert write(scripted.status(WAITING, "which?")) == "which?\n"


def test_a_message(write):
    """An answer without a task is its text."""
    assert write(StreamResponse(message=scripted.said("hi\n"))) == "hi\n"


def test_artifacts_are_apart(write):
    """A second artifact begins on a line of its own."""
    other = scripted.chunk("two")
    other.artifact_update.artifact.artifact_id = "other"
    assert write(scripted.chunk("one"), other, scripted.status(COMPLETED)) == "one\ntwo\n"


def test_a_task_as_it_is(write):
    """A plain agent begins with the task and what it has so far."""
    task = scripted.task(COMPLETED)
    task.artifacts.add().parts.add(text="all")
    assert write(StreamResponse(task=task)) == "all\n"


def test_a_failure(write, capsys):
    """The reason is in the error, and what came before it is shown, on a line that is ended."""
    with pytest.raises(TaskError, match="is FAILED: broken"):
        write(scripted.chunk("begun"), scripted.status(FAILED, "broken"))
    assert capsys.readouterr().out == "begun\n"


def test_objects(write):
    """A program gets one object per event, with its number."""
    lines = [json.loads(line) for line in write(*scripted.answer(1), as_json=True).splitlines()]
    assert [line["sequence"] for line in lines] == [1, 2, 3]
    assert [line["text"] for line in lines] == ["", "0 ", ""]
    assert lines[-1]["state"] == "COMPLETED"
    assert {line["task_id"] for line in lines} == {scripted.TASK}
