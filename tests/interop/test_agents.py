"""Agents between makes, in A2A 1.0 and 0.3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from a2a.types import CancelTaskRequest, GetTaskRequest, StreamResponse, SubscribeToTaskRequest

import tndrl
from interop.conftest import Both
from support import agents, streams
from support.agents import CANCELED, COMPLETED

VERSIONS = pytest.mark.parametrize("version", agents.VERSIONS)
GO_CALLS = pytest.mark.interop("Go", "Go calls Python")
PYTHON_CALLS = pytest.mark.interop("Go", "Python calls Go")
A2A = tndrl.StreamType.A2A


@VERSIONS
@GO_CALLS
async def test_go_asks(both: Both, version: str) -> None:
    """The card, a blocking prompt, a streamed one, and the task read back."""
    async with both.serving(llm__provider="echo") as node:
        channel = await both.go_channel(node, A2A)
        card = await both.go.do("card", chan=channel, version=version)
        assert card["streaming"]
        sent = await both.go.do("send", chan=channel, version=version, text="one two three")
        assert sent["state"] == "TASK_STATE_COMPLETED"
        streamed = await both.go.do("stream", chan=channel, version=version, text="one two three")
        assert streamed["state"] == "TASK_STATE_COMPLETED"
        assert "one two three" in streamed.get("text", "") + streamed.get("said", "")
        task = await both.go.do("task", chan=channel, version=version, task=sent["task"])
        assert task["state"] == "TASK_STATE_COMPLETED"


@VERSIONS
@GO_CALLS
async def test_go_cancels(both: Both, version: str) -> None:
    """A task that runs is followed on another stream and cancelled there."""
    async with both.serving(llm__provider="echo", llm__model="chunk=5,delay=0.05") as node:
        channel = await both.go_channel(node, A2A)
        begun = await both.go.do("stream", chan=channel, version=version, text="word " * 500, times=3)
        await streams.until(lambda: node.stats()["agent_calls_running"] == 0)
        following = asyncio.create_task(
            both.go.do("follow", chan=channel, version=version, task=begun["task"])
        )
        await streams.until(lambda: node.stats()["agent_calls_running"] == 1)
        cancelled = await both.go.do("cancel", chan=channel, version=version, task=begun["task"])
        assert cancelled["state"] == "TASK_STATE_CANCELED"
        assert (await following)["state"] == "TASK_STATE_CANCELED"


@PYTHON_CALLS
async def test_python_finds_out(both: Both) -> None:
    """The version is found out, the card read, and an answer streamed."""
    served = await both.go_serves()
    async with both.calling(served["addr"]) as peer, peer.agent() as agent:
        assert agent.card.name == "parrot"
        events = [event async for event in agent.stream("one two three")]
        texts = [part.text for event in events for part in event.artifact_update.artifact.parts]
        assert "".join(texts) == "one two three "
        assert events[-1].status_update.status.state == COMPLETED


@VERSIONS
@PYTHON_CALLS
async def test_python_asks(both: Both, version: str) -> None:
    """A blocking prompt, and the task read back."""
    served = await both.go_serves()
    async with both.calling(served["addr"]) as peer:
        client = agents.client(peer, version)
        task = await agents.ask(client, "one two three")
        assert task.status.state == COMPLETED
        assert (await client.get_task(GetTaskRequest(id=task.id))).status.state == COMPLETED


@VERSIONS
@PYTHON_CALLS
async def test_python_cancels(both: Both, version: str) -> None:
    """A task that runs is followed on another stream and cancelled there."""
    served = await both.go_serves()
    async with both.calling(served["addr"]) as peer:
        client = agents.client(peer, version, streaming=True)
        begun = client.send_message(agents.request("wait"))
        first = await anext(begun)
        task_id = first.task.id or first.status_update.task_id
        following = client.subscribe(SubscribeToTaskRequest(id=task_id))
        await anext(following)
        cancelled = await client.cancel_task(CancelTaskRequest(id=task_id))
        assert cancelled.status.state == CANCELED
        assert (await _states(following))[-1] == CANCELED
        await begun.aclose()


async def _states(events: AsyncIterator[StreamResponse]) -> list[int]:
    return [
        (event.task if event.HasField("task") else event.status_update).status.state async for event in events
    ]
