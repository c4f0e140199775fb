"""Nodes in processes of their own with real model services, in the form of a scripted one, and real tools."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from a2a.types import StreamResponse, Task, TaskState

import tndrl
from support import nodes, processes, tools
from support.chat_server import Answer, ChatServer, breaks, calls, chat_server, fails, says

SECRET = "sk-very-secret"  # noqa: S105 - it is one for the test only


@dataclass
class Stage:
    """A node whose log goes to ``log`` when it is left, one of its peers, and the model's service."""

    model: ChatServer
    peer: tndrl.Peer
    pid: int
    log: str = ""


@asynccontextmanager
async def stage(folder: Path, provider: str, *answers: Answer) -> AsyncIterator[Stage]:
    """Serve an agent at debug level, with the model that gives ``answers``; with mcphost it has tools."""
    command = processes.SERVE
    settings: dict[str, object] = {"provider": provider, "model": "m" if provider == "ollama" else "openai:m"}
    if provider == "mcphost":
        shop = {
            "type": "local",
            "command": list(tools.PROGRAM),
            "environment": {"TOOL_TOKEN": "${OLLAMA_API_KEY}"},
        }
        settings |= {"mcpServers": {"shop": shop}, "maxSteps": 3}
    async with chat_server(*answers) as model:
        settings["url"] = model.url + f"?key={SECRET}"
        flags: dict[str, object] = {"llm": settings, "logLevel": "debug"}
        async with (
            processes.serving(folder / "a", command=command, **flags) as node,
            asyncio.TaskGroup() as group,
        ):
            assert node.process.stderr is not None
            log = group.create_task(node.process.stderr.read())  # a node whose pipe is full would wait
            async with nodes.calling(folder / "b", "b", node.address) as peer:
                there = Stage(model, peer, node.pid)
                yield there
            node.signal(signal.SIGTERM)
            there.log = (await log).decode()


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give nodes keys that must not be seen."""
    monkeypatch.setenv("OLLAMA_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


async def ask(peer: tndrl.Peer, text: str = "hello") -> Task:
    """Return the task that ``text`` begins, when it has ended."""
    async with peer.agent() as agent:
        task = await agent.send(text)
        assert isinstance(task, Task)
        return task


def text_of(task: Task) -> str:
    """Return the answer."""
    return "".join(part.text for artifact in task.artifacts for part in artifact.parts)


async def test_a_model_with_tools_answers(short_dir: Path) -> None:
    """The program of a tool server is started with the first prompt, and ends with the node."""
    add = calls(("shop__add", {"a": 1, "b": 2}))
    async with stage(short_dir, "mcphost", add, says("It is 3.")) as there:
        assert psutil.Process(there.pid).children() == []
        assert text_of(await ask(there.peer)) == "It is 3."
        [program] = psutil.Process(there.pid).children()
    assert not program.is_running()
    assert SECRET not in there.log


@pytest.mark.parametrize("provider", ["ollama", "mcphost"])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (fails(401, SECRET), "the model service refused our key"),
        (breaks(end=False), "the connection to the model service failed"),
    ],
)
async def test_a_failing_model_fails_the_task(
    short_dir: Path, provider: str, bad: Answer, reason: str
) -> None:
    """With a reason and without a secret, in the answer and in the log; the next prompt is answered."""
    async with stage(short_dir, provider, bad, says("ok")) as there:
        task = await ask(there.peer)
        assert task.status.state == TaskState.TASK_STATE_FAILED
        assert task.status.message.parts[0].text == reason
        assert SECRET not in str(task)
        assert text_of(await ask(there.peer)) == "ok"
    assert reason in there.log
    assert SECRET not in there.log


async def test_a_hung_model_holds_up_nobody_else(short_dir: Path) -> None:
    """Others are answered meanwhile; cancelling the task closes its request, and the node is idle again."""
    async with stage(short_dir, "ollama") as there, there.peer.agent() as agent:
        there.model.answers += [there.model.hangs("Well"), says("ok")]
        async with aclosing(agent.stream("hello")) as events:
            task_id = await _working(events)
            assert text_of(await ask(there.peer)) == "ok"
            assert (await nodes.status(there.peer)).active_tasks == 1
            await agent.cancel(task_id)
            async with asyncio.timeout(10):
                await there.model.gone.wait()
        assert (await nodes.status(there.peer)).active_tasks == 0


async def _working(events: AsyncIterator[StreamResponse]) -> str:
    """Return the task's ID once the first piece of its answer is there."""
    async for event in events:
        if event.HasField("artifact_update"):
            return event.artifact_update.task_id
    raise AssertionError("no piece of an answer came")
