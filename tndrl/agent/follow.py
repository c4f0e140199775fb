"""Following one answer over as many connections as it takes."""

from __future__ import annotations

import asyncio
import random
import time

from a2a.types import a2a_pb2
from a2a.types.a2a_pb2 import TaskState

from tndrl.agent.extensions import sequence_of
from tndrl.errors import (
    AgentCallError,
    ConnectError,
    ConnectionClosedError,
    NoAgentError,
    StreamClosedError,
    TndrlError,
)

TERMINAL = frozenset(
    {
        TaskState.TASK_STATE_COMPLETED,
        TaskState.TASK_STATE_FAILED,
        TaskState.TASK_STATE_CANCELED,
        TaskState.TASK_STATE_REJECTED,
    }
)
INTERRUPTED = frozenset({TaskState.TASK_STATE_INPUT_REQUIRED, TaskState.TASK_STATE_AUTH_REQUIRED})
_LOST = ("UNAVAILABLE", "CANCELLED", "ABORTED")
_PAUSES = (0.1, 2.0)


class Progress:
    """What has been seen of one answer."""

    def __init__(self, task_id: str = "") -> None:
        self.task_id = task_id
        self.last = 0
        """The number of the last event."""
        self.began = False
        """Whether there was any."""
        self.state = TaskState.TASK_STATE_UNSPECIFIED
        self.is_over = False
        """Whether no more can come: the task has ended, or the answer was a message without a task."""

    @property
    def is_interrupted(self) -> bool:
        """Whether the task waits for its caller."""
        return self.state in INTERRUPTED

    def take(self, event: a2a_pb2.StreamResponse) -> bool:
        """Note an event; returns False for one that was seen before."""
        number = sequence_of(event)
        if number is not None and number <= self.last:
            return False
        self.last = number or self.last
        self.began = True
        kind = event.WhichOneof("payload")
        if kind == "task":
            self._enter(event.task.id, event.task.status.state)
        elif kind == "status_update":
            self._enter(event.status_update.task_id, event.status_update.status.state)
        elif kind == "artifact_update":
            self.task_id = event.artifact_update.task_id
        else:
            self.is_over = True
        return True

    def _enter(self, task_id: str, state: TaskState) -> None:
        self.task_id = task_id
        self.state = state
        self.is_over = state in TERMINAL


class Patience:
    """Pauses between attempts, each longer than the one before, for ``limit`` seconds without progress in all."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._failures = 0
        self._failing_since = 0.0

    @property
    def failures(self) -> int:
        """Attempts that failed since there was progress."""
        return self._failures

    def reset(self) -> None:
        """Note progress."""
        self._failures = 0

    async def wait(self, failure: TndrlError) -> None:
        """Wait before the next attempt: not at all after the first failure. Raises ``failure`` when time is up."""
        now = time.monotonic()
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        if now - self._failing_since >= self._limit:
            raise failure
        if self._failures > 1:
            shortest, longest = _PAUSES
            pause = min(longest, shortest * 2 ** (self._failures - 2))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))


def is_lost(failure: TndrlError) -> bool:
    """Whether the way to an agent that was found before was lost, rather than a call refused."""
    if isinstance(failure, AgentCallError):
        return failure.status in _LOST
    # A node that starts again lets callers in a little before its agent.
    return isinstance(failure, (ConnectError, ConnectionClosedError, StreamClosedError, NoAgentError))
