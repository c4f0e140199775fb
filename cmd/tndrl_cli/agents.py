"""What the commands that call an agent share: the connection, and what an agent sends as text that is safe to show."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from tndrl.errors import peer_text
from tndrl_cli.client import connected, raise_failure
from tndrl_cli.errors import TaskError
from tndrl_cli.options import Invocation
from tndrl_cli.output import Output

if TYPE_CHECKING:
    from a2a.types.a2a_pb2 import Message, Part, StreamResponse, Task, TaskStatus

    from tndrl.agent.client import AgentClient

GOOD = ("COMPLETED", "INPUT_REQUIRED", "AUTH_REQUIRED")
"""States in which an answer is no failure."""
BAD = ("FAILED", "REJECTED", "CANCELED")
"""States whose message is the reason, and no answer."""


@asynccontextmanager
async def agent_of(target: str, using: Invocation) -> AsyncIterator[AgentClient]:
    """Connect to a peer and find its agent. Raises what :func:`tndrl.connect` and :meth:`tndrl.Peer.agent` raise."""
    from tndrl.errors import AgentCallError

    async with connected(target, using.config) as peer, AsyncExitStack() as stack:
        try:
            agent = await stack.enter_async_context(
                peer.agent(timeout=using.config.transport.connect_timeout)
            )
        except AgentCallError as error:
            if error.status in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                await raise_failure(peer, error)
            raise
        yield agent


def readable(text: str) -> str:
    """Return an agent's text with its lines, and escapes for characters that would move the cursor or worse."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def text_of(parts: Iterable[Part]) -> str:
    """Return the text of parts; what is no text is named."""
    return "".join(part.text if part.HasField("text") else _named(part) for part in parts)


def task_text(task: Task) -> str:
    """Return a task's answer: its artifacts, or its status's message where there are none."""
    artifacts = [text_of(artifact.parts) for artifact in task.artifacts]
    if artifacts or state_name(task.status.state) in BAD:
        return "\n".join(artifacts)
    return text_of(task.status.message.parts)


def state_name(state: int) -> str:
    """Return a task's state in words; one that this version does not know is its number."""
    from a2a.types.a2a_pb2 import TaskState

    known = state in TaskState.values()
    return TaskState.Name(state).removeprefix("TASK_STATE_") if known else str(int(state))


def updated(status: TaskStatus) -> str:
    """Return when a task's state was entered, in UTC; empty if the agent does not say."""
    if not status.HasField("timestamp"):
        return ""
    try:
        return status.timestamp.ToJsonString()
    except ValueError:  # a date beyond the year 9999, or as odd
        return "unknown"


def as_record(task: Task) -> dict[str, Any]:
    """Return what identifies a task, and how it stands, as plain data; with the reason if it ended badly."""
    state = state_name(task.status.state)
    reason = text_of(task.status.message.parts) if state in BAD else ""
    return {
        "task_id": task.id,
        "context_id": task.context_id,
        "state": state,
        "updated": updated(task.status),
        **({"reason": reason} if reason else {}),
    }


def check_outcome(address: str, task_id: str, state: str, reason: str) -> None:
    """Raise TaskError for a task that did not end well, and say how to go on with one that waits."""
    if state not in GOOD:
        raise TaskError(address, task_id, state, reason)
    if state != "COMPLETED":
        sys.stderr.write(f"tndrl: the agent waits for an answer; send it with --task {peer_text(task_id)}\n")


class AnswerWriter:
    """Writes an answer's events as they come: pieces of text, or with JSON one object per event."""

    def __init__(self, address: str, output: Output) -> None:
        self._address = address
        self._output = output
        self._task_id = ""
        self._context_id = ""
        self._state = "COMPLETED"  # of a message without a task
        self._reason = ""
        self._told = ""  # by states; an agent of A2A 0.3 repeats all of it with the last
        self._artifact = ""
        self._at_line_start = True

    def take(self, event: StreamResponse) -> None:
        """Write what is new in an event."""
        kind = event.WhichOneof("payload")
        text = ""
        if kind == "task":
            self._enter(event.task.id, event.task.context_id, event.task.status)
            text = "\n".join(text_of(artifact.parts) for artifact in event.task.artifacts)
        elif kind == "status_update":
            update = event.status_update
            text = self._enter(update.task_id, update.context_id, update.status)
        elif kind == "artifact_update":
            text = self._piece(
                event.artifact_update.artifact.artifact_id, event.artifact_update.artifact.parts
            )
        elif kind == "message":
            text = text_of(event.message.parts)
        if self._output.as_json:
            self._write_json(event, text)
        elif text:
            self._write_text(text)

    async def write(self, events: AsyncIterable[StreamResponse]) -> None:
        """Write all events and end the last line; raises TaskError if the task did not end well."""
        try:
            async for event in events:
                self.take(event)
        finally:
            if not self._at_line_start:
                self._write_text("\n")
        check_outcome(self._address, self._task_id, self._state, self._reason)

    def _enter(self, task_id: str, context_id: str, status: TaskStatus) -> str:
        """Note a state; returns what of its message is part of the answer."""
        self._task_id, self._context_id = task_id, context_id
        self._state = state_name(status.state)
        text = text_of(status.message.parts)
        if self._state in BAD:
            self._reason = text
            return ""
        if text == self._told:
            return ""
        self._told += text
        return text

    def _piece(self, artifact_id: str, parts: Iterable[Part]) -> str:
        text = text_of(parts)
        apart = self._artifact and artifact_id != self._artifact and not self._at_line_start
        self._artifact = artifact_id
        return f"\n{text}" if apart else text

    def _write_text(self, text: str) -> None:
        sys.stdout.write(readable(text))
        sys.stdout.flush()
        self._at_line_start = text.endswith("\n")

    def _write_json(self, event: StreamResponse, text: str) -> None:
        from tndrl.agent.extensions import sequence_of

        about = {"task_id": self._task_id, "context_id": self._context_id, "state": self._state}
        reason = {"reason": self._reason} if self._reason else {}
        self._output.write(
            {"event": "answer", "sequence": sequence_of(event), **about, "text": text, **reason}, ""
        )


def message_record(message: Message) -> dict[str, str]:
    """Return a message as plain data."""
    return {"role": "user" if message.role == 1 else "agent", "text": text_of(message.parts)}


def _named(part: Part) -> str:
    kind = part.WhichOneof("content") or "empty"
    return f"[{' '.join(filter(None, (kind, part.filename, part.media_type)))}]"
