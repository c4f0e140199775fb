"""An agent and its callers, in both versions of A2A: whole messages, and tasks that belong to their caller (A2A-04)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from a2a.client.base_client import BaseClient
from a2a.client.errors import A2AClientError
from a2a.server.agent_execution import RequestContext
from a2a.types import (
    CancelTaskRequest,
    GetExtendedAgentCardRequest,
    GetTaskRequest,
    ListTasksRequest,
    Part,
    SubscribeToTaskRequest,
)
from a2a.utils.errors import ContentTypeNotSupportedError, TaskNotFoundError

import tndrl
from support import nodes, processes
from support.agents import (
    COMPLETED,
    VERSIONS,
    Acting,
    Puppet,
    agent_node,
    answer_of,
    ask,
    calling,
    client,
    request,
    stream,
)
from tndrl.agent.answers import status, submitted
from tndrl.agent.executor import PromptExecutor
from tndrl.agent.extensions import claimed_identity
from tndrl.llm.provider import Turn

pytestmark = pytest.mark.parametrize("version", VERSIONS)


@asynccontextmanager
async def talking(
    folder: Path, version: str, puppet: Puppet, *names: str
) -> AsyncIterator[tuple[BaseClient, ...]]:
    """Run an agent with a provider, and yield a client for each of ``names``."""
    async with (
        agent_node(folder, PromptExecutor(puppet)) as node,
        calling(node, folder, names[0]) as first,
        calling(node, folder, names[-1]) as last,
    ):
        yield tuple(client(peer, version) for peer in (first, last))


async def test_an_echo(short_dir: Path, version: str) -> None:
    """A node with a provider answers a prompt, in one piece and as a stream."""
    flags = {"llm__provider": "echo", "llm__model": "chunk=2"}
    async with agent_node(short_dir, **flags) as node, calling(node, short_dir) as peer:
        task = await ask(client(peer, version), "hello")
        assert (task.status.state, answer_of(task)) == (COMPLETED, "hello")
        events = await stream(client(peer, version, streaming=True), "hello")
        kinds = [event.WhichOneof("payload") for event in events]
        assert (kinds[0], events[-1].status_update.status.state) == ("task", COMPLETED)
        assert ("artifact_update" in kinds) == (version == "1.0")


async def test_whole_messages(short_dir: Path, version: str) -> None:
    """All text parts reach the provider; a message with another kind of part is refused and makes no task."""
    puppet = Puppet("ok")
    async with talking(short_dir, version, puppet, "b") as (one, *_):
        await ask(one, "", parts=[Part(text="a"), Part(text="b")])
        with pytest.raises(ContentTypeNotSupportedError, match="it takes text/plain"):
            await ask(one, "", parts=[Part(text="a"), Part(url="http://127.0.0.1/")])
    assert puppet.asked == [(Turn("user", "a\nb"),)]


async def test_conversations(short_dir: Path, version: str) -> None:
    """A context goes on for who began it; another caller that names it begins one of its own."""
    puppet = Puppet("fine")
    async with talking(short_dir, version, puppet, "b", "c") as (one, other):
        task = await ask(one, "first")
        await ask(one, "second", context_id=task.context_id)
        await ask(other, "third", context_id=task.context_id)
    texts = [[turn.text for turn in turns] for turns in puppet.asked]
    assert texts == [["first"], ["first", "fine", "second"], ["third"]]


async def test_tasks_of_others(short_dir: Path, version: str) -> None:
    """To another peer a task is NOT_FOUND, as one that there never was, whatever it asks."""
    async with (
        agent_node(short_dir, llm__provider="echo") as node,
        calling(node, short_dir, "b") as first,
        calling(node, short_dir, "c") as last,
    ):
        owner, other = client(first, version), client(last, version)
        task_id = (await ask(owner, "mine")).id
        for name in (task_id, "00000000-0000-0000-0000-000000000000"):
            subscribed = client(last, version, streaming=True).subscribe(SubscribeToTaskRequest(id=name))
            for call in (
                other.get_task(GetTaskRequest(id=name)),
                other.cancel_task(CancelTaskRequest(id=name)),
                anext(subscribed),
                ask(other, "more", task_id=name),
            ):
                with pytest.raises(TaskNotFoundError):
                    await call
        assert (await owner.get_task(GetTaskRequest(id=task_id))).id == task_id


async def test_lists_of_tasks(short_dir: Path, version: str) -> None:
    """Each caller lists its own tasks, whichever version they were begun in; 0.3 has no lists."""
    async with (
        agent_node(short_dir, llm__provider="echo") as node,
        calling(node, short_dir, "b") as first,
        calling(node, short_dir, "c") as last,
    ):
        mine = (await ask(client(first, version), "mine")).id
        for peer, ids in ((first, [mine]), (last, [])):
            listed = await client(peer, "1.0").list_tasks(ListTasksRequest())
            assert [task.id for task in listed.tasks] == ids


async def test_the_card(short_dir: Path, version: str) -> None:
    """The card comes in either version, and names who serves it."""
    async with (
        agent_node(short_dir, llm__provider="echo", agent__name="Echo") as node,
        calling(node, short_dir) as peer,
    ):
        card = await client(peer, version).get_extended_agent_card(GetExtendedAgentCardRequest())
        assert (card.name, claimed_identity(card)) == ("Echo", peer.identity)


async def test_users_executors(short_dir: Path, version: str) -> None:
    """Any executor of the SDK is served, and knows its caller."""

    async def execute(context: RequestContext, queue: Any) -> None:
        await queue.enqueue_event(submitted(context))
        await queue.enqueue_event(status(context, COMPLETED, str(tndrl.peer_identity())))

    async with agent_node(short_dir, Acting(execute)) as node, calling(node, short_dir, "c") as peer:
        assert answer_of(await ask(client(peer, version), "who am I?")) == "spiffe://tndrl/node/c"


async def test_many_callers(short_dir: Path, version: str) -> None:
    """Calls of two peers mixed up get each their own answers."""
    async with (
        agent_node(short_dir, llm__provider="echo") as node,
        calling(node, short_dir, "b") as first,
        calling(node, short_dir, "c") as last,
    ):
        clients = [client(peer, version) for peer in (first, last)]
        tasks = await asyncio.gather(*(ask(clients[n % 2], f"prompt {n}") for n in range(40)))
    assert [answer_of(task) for task in tasks] == [f"prompt {n}" for n in range(40)]


async def test_no_agent(short_dir: Path, version: str) -> None:
    """Without a provider and an executor, streams of the agent are refused as those of any unknown type."""
    async with nodes.running(short_dir / "a") as node, calling(node, short_dir) as peer:
        with pytest.raises(A2AClientError, match="UNAVAILABLE"):
            await client(peer, version).get_extended_agent_card(GetExtendedAgentCardRequest())
        assert node.stats()["streams_reset.unknown_stream_type"] >= 1


async def test_no_agent_no_sdk(short_dir: Path, version: str) -> None:
    """A node without an agent does not even load the SDK."""
    code = "import sys, tndrl_cli.app; tndrl_cli.app.main(['serve', *sys.argv[1:]]); sys.exit('a2a' in sys.modules)"
    command = (sys.executable, "-c", code)
    async with processes.serving(short_dir, command=command) as process:
        process.signal(15)
        assert (await process.ended()).code == 0


async def test_a_second_version_of_the_question(short_dir: Path, version: str) -> None:
    """A message that comes again is answered with the same task."""
    puppet, again = Puppet("ok"), request("once")
    async with talking(short_dir, version, puppet, "b") as (one, *_):
        answers = [[response async for response in one.send_message(again)] for _ in range(3)]
    assert len({answer[0].task.id for answer in answers}) == 1
    assert puppet.begun.count == 1


async def test_nobody_calls(short_dir: Path, version: str) -> None:
    """A local process that is no peer is not let in, whatever it says."""
    async with (
        agent_node(short_dir, llm__provider="echo") as node,
        grpc.aio.insecure_channel(f"unix:{node._services._servers[2].path}") as channel,
    ):
        service = "lf.a2a.v1" if version == "1.0" else "a2a.v1"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(f"/{service}.A2AService/SendMessage")(b"")
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
