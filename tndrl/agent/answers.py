"""The events that an answer is made of, in the manner of the version that the caller speaks."""

from __future__ import annotations

import uuid
from typing import Protocol

from a2a.server.agent_execution import RequestContext
from a2a.types import (
    Artifact,
    Message,
    Part,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

from tndrl.agent.context import A2A_VERSION

ARTIFACT_ID = "reply"

TERMINAL = frozenset(
    {
        TaskState.TASK_STATE_COMPLETED,
        TaskState.TASK_STATE_FAILED,
        TaskState.TASK_STATE_CANCELED,
        TaskState.TASK_STATE_REJECTED,
    }
)
"""The states that a task never leaves."""

INTERRUPTED = frozenset({TaskState.TASK_STATE_INPUT_REQUIRED, TaskState.TASK_STATE_AUTH_REQUIRED})
"""The states in which a task waits for its caller."""


def submitted(context: RequestContext) -> Task:
    """Return the task that a message begins."""
    assert context.message is not None
    return Task(
        id=context.task_id,
        context_id=context.context_id,
        status=_status(TaskState.TASK_STATE_SUBMITTED),
        history=[context.message],
    )


def status(context: RequestContext, state: TaskState, text: str | None = None) -> TaskStatusUpdateEvent:
    """Return the event that a task is in ``state``, with a message of the agent if there is a ``text``."""
    update = TaskStatusUpdateEvent(
        task_id=context.task_id, context_id=context.context_id, status=_status(state)
    )
    if text is not None:
        update.status.message.CopyFrom(
            Message(
                message_id=str(uuid.uuid4()),
                role=Role.ROLE_AGENT,
                task_id=context.task_id,
                context_id=context.context_id,
                parts=[Part(text=text)],
            )
        )
    return update


def _status(state: TaskState) -> TaskStatus:
    made = TaskStatus(state=state)
    made.timestamp.GetCurrentTime()
    return made


class Answer(Protocol):
    """How texts and their end become events."""

    def text(self, text: str) -> TaskArtifactUpdateEvent | TaskStatusUpdateEvent:
        """Return the event for the next text."""

    def completed(self, whole: str) -> TaskStatusUpdateEvent:
        """Return the event that ends the task."""


class ArtifactAnswer:
    """A2A 1.0: one artifact that grows."""

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self._begun = False

    def text(self, text: str) -> TaskArtifactUpdateEvent:
        """Return the artifact's next part."""
        update = TaskArtifactUpdateEvent(
            task_id=self._context.task_id,
            context_id=self._context.context_id,
            artifact=Artifact(artifact_id=ARTIFACT_ID, parts=[Part(text=text)]),
            append=self._begun,
        )
        self._begun = True
        return update

    def completed(self, whole: str) -> TaskStatusUpdateEvent:
        """Return COMPLETED; the artifact has the text."""
        return status(self._context, TaskState.TASK_STATE_COMPLETED)


class MessageAnswer:
    """A2A 0.3: messages of a task at work, because the Go node's command shows those and no artifacts."""

    def __init__(self, context: RequestContext) -> None:
        self._context = context

    def text(self, text: str) -> TaskStatusUpdateEvent:
        """Return WORKING with the text."""
        return status(self._context, TaskState.TASK_STATE_WORKING, text)

    def completed(self, whole: str) -> TaskStatusUpdateEvent:
        """Return COMPLETED with the whole text, for callers that wait for the end."""
        return status(self._context, TaskState.TASK_STATE_COMPLETED, whole)


def answer_for(context: RequestContext) -> Answer:
    """Return the manner for the version that the call came in."""
    spoken = context.call_context.state.get(A2A_VERSION)
    return MessageAnswer(context) if spoken == "0.3" else ArtifactAnswer(context)
