"""An agent whose tasks are kept in PostgreSQL."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from a2a.types.a2a_pb2 import ListTasksRequest, SubscribeToTaskRequest, TaskState
from sqlalchemy import text

from support import durable, requires
from support.durable import (
    ALICE,
    BOB,
    COMPLETED,
    FAILED,
    Scripted,
    answering,
    caller,
    every,
    numbers,
    request,
)
from tndrl.agent.database import Database
from tndrl.agent.sweep import prune, sweep
from tndrl.errors import ConfigError

USER = 65534 if os.geteuid() == 0 else None
"""PostgreSQL does not run as root."""


BINARIES = Path(shutil.which("postgres") or "postgres").resolve().parent


@pytest.fixture
def cluster() -> Iterator[Path]:
    """Return the folder of an empty cluster that the server's user may enter; the scratch folder is closed to it."""
    requires.tool("postgres", "install the package postgresql")
    if importlib.util.find_spec("asyncpg") is None:
        requires.missing("it needs asyncpg; run: pip install asyncpg")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        if USER is not None:
            os.chown(name, USER, -1)
        data = Path(name, "data")
        command = [BINARIES / "initdb", "-D", data, "-U", "tndrl", "-A", "trust", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, user=USER, cwd=name)
        yield data


@asynccontextmanager
async def serving(data: Path) -> AsyncIterator[str]:
    """Run a server, and yield the URL of its database."""
    process = await asyncio.create_subprocess_exec(
        *(BINARIES / "postgres", "-D", data, "-k", data, "-c", "listen_addresses=", "-c", "fsync=off"),
        stderr=asyncio.subprocess.PIPE,
        user=USER,
        cwd=data,
    )
    try:
        assert process.stderr is not None
        while b"ready to accept connections" not in (line := await process.stderr.readline()):
            assert line
        yield f"postgresql+asyncpg://tndrl:hush@/postgres?host={data}"
    finally:
        process.terminate()
        await process.communicate()


async def use(url: str, folder: Path) -> None:
    """Do what is done with tasks, over a restart."""
    executor = Scripted(answering("a", "b\0c", gate=asyncio.Event()))
    async with durable.handling(executor, folder, url) as handler:
        left = await handler.on_message_send(request(at_once=True), caller())
        executor.script = answering(*["x"] * 20)
        events = await asyncio.gather(
            *(
                every(handler.on_message_send_stream(request(message_id="m"), caller(name)))
                for name in [ALICE, BOB] * 10
            )
        )
        assert [numbers(one) for one in events] == [list(range(1, 24))] * 20
    async with Database(url, folder) as database:
        assert await sweep(database) == 1
    async with durable.handling(executor, folder, url) as handler:
        task = await handler.on_message_send(request(message_id="m"), caller())
        assert (task.status.state, len(task.artifacts[0].parts)) == (COMPLETED, 20)
        (failed,) = (await handler.on_list_tasks(ListTasksRequest(status=FAILED), caller())).tasks
        assert failed.id == left.id
        events = await every(
            handler.on_subscribe_to_task(SubscribeToTaskRequest(id=task.id), caller(after=20))
        )
        assert numbers(events) == [21, 22, 23]
        assert events[-1].status.state == TaskState.TASK_STATE_COMPLETED
    assert executor.runs == 3


async def test_the_same_as_sqlite(tmp_path: Path, cluster: Path) -> None:
    """Tasks are kept, found again, swept and pruned; a server that is gone is named without its password."""
    async with serving(cluster) as url:
        await use(url, tmp_path)
        async with Database(url, tmp_path) as database:
            await database.transaction(
                lambda c: c.execute(text("update tasks set last_updated = '2001-01-01'"))
            )
            assert await prune(database, 86400) == 3
    with pytest.raises(ConfigError) as caught:
        await Database(url, tmp_path).__aenter__()
    assert "agent.store: cannot use the database postgresql+asyncpg://tndrl:***@" in str(caught.value)
