"""Following one answer."""

from __future__ import annotations

import pytest
from a2a.types.a2a_pb2 import StreamResponse, TaskState

from support import scripted_agent as scripted
from tndrl.agent.follow import Patience, Progress, is_lost
from tndrl.errors import (
    AgentCallError,
    CertificateRefusedError,
    NoAgentError,
    PortClosedError,
    StreamResetError,
)


def test_progress_knows_the_task_from_any_event() -> None:
    """Whatever comes first names the task."""
    for event in scripted.answer(1):
        progress = Progress()
        assert progress.take(event)
        assert progress.task_id == scripted.TASK


@pytest.mark.parametrize(
    ("state", "over", "interrupted"),
    [("WORKING", False, False), ("INPUT_REQUIRED", False, True), ("AUTH_REQUIRED", False, True)]
    + [(name, True, False) for name in ("COMPLETED", "FAILED", "CANCELED", "REJECTED")],
)
def test_progress_knows_the_end(state: str, over: bool, interrupted: bool) -> None:
    """Four states are final, two wait for the caller."""
    progress = Progress()
    progress.take(scripted.status(TaskState.Value(f"TASK_STATE_{state}")))
    assert (progress.is_over, progress.is_interrupted) == (over, interrupted)


def test_a_message_is_the_whole_answer() -> None:
    """An agent that answers without a task sends nothing more."""
    progress = Progress()
    progress.take(StreamResponse(message=scripted.said("hi")))
    assert progress.is_over


def test_numbers_only_grow() -> None:
    """An event with a number that was passed is not taken, one without a number is."""
    progress = Progress()
    first, second, *_rest = scripted.answer(3)
    assert [progress.take(event) for event in (second, first, second, scripted.chunk("x"))] == [
        True,
        False,
        False,
        True,
    ]
    assert progress.last == 2


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses grow from nothing to 2 s, until the time without progress is used up."""
    now, pauses = [0.0], []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("tndrl.agent.follow.time.monotonic", lambda: now[0])
    monkeypatch.setattr("tndrl.agent.follow.asyncio.sleep", sleep)
    patience, failure = Patience(30), PortClosedError("a:1")
    await patience.wait(failure)
    assert pauses == []

    async def wait_for_ever() -> None:
        while True:
            await patience.wait(failure)

    with pytest.raises(PortClosedError):
        await wait_for_ever()
    assert 28 <= now[0] <= 32
    assert max(pauses) <= 2
    assert 0.05 <= pauses[0] <= 0.1


async def test_progress_renews_patience() -> None:
    """After an event the next failure is the first again."""
    patience, failure = Patience(0), PortClosedError("a:1")
    for _ in range(2):
        with pytest.raises(PortClosedError):
            await patience.wait(failure)
        assert patience.failures == 1
        patience.reset()


@pytest.mark.parametrize(
    ("failure", "lost"),
    [
        (PortClosedError("a:1"), True),
        (StreamResetError(1, "INTERNAL", remote=True), True),
        (AgentCallError("a:1", "UNAVAILABLE", ""), True),
        (AgentCallError("a:1", "NOT_FOUND", ""), False),
        (CertificateRefusedError("a:1", 48, "unknown_ca", ""), False),
        (NoAgentError("a:1"), True),
    ],
)
def test_losses_are_told_from_refusals(failure: Exception, lost: bool) -> None:
    """Only what may pass by itself is worth another attempt."""
    assert is_lost(failure) is lost
