"""Clearing up."""

import asyncio
import shutil
import time

import pytest
from a2a.types.a2a_pb2 import GetTaskRequest, ListTasksRequest, Message, Part, Role, SubscribeToTaskRequest
from sqlalchemy import func, select, text

from support.durable import (
    CARD,
    COMPLETED,
    FAILED,
    INPUT_REQUIRED,
    SUBMITTED,
    WORKING,
    Scripted,
    answering,
    caller,
    every,
    handling,
    numbers,
    request,
)
from tndrl.agent.answers import status, submitted
from tndrl.agent.database import EVENTS, FILE, MESSAGES, Database, TaskRow
from tndrl.agent.events import EventLog
from tndrl.agent.handler import DurableHandler
from tndrl.agent.messages import Messages
from tndrl.agent.sweep import REASON, prune, prune_for_ever, sweep

DAY = 86400.0


@pytest.fixture
def executor():
    return Scripted(answering("a", gate=asyncio.Event()))


async def leave(executor, folder, end=None, message_id="m", events=3):
    """Let a process end with one task, which runs unless it has an end; return the task's ID."""
    if end is not None:
        executor.script = answering("a", end=end)
    async with handling(executor, folder) as handler:
        params = request(message_id=message_id, at_once=end is None)
        task = await handler.on_message_send(params, caller())
        await handler._log.begin(task.id, events - 1)
    return task.id


async def clear_up(folder):
    async with Database(None, folder) as database:
        return await sweep(database)


async def test_running_tasks_fail(executor, tmp_path):
    """A task that ran when its process ended is FAILED, says why, and its log says so too."""
    task_id = await leave(executor, tmp_path)
    assert await clear_up(tmp_path) == 1
    async with handling(executor, tmp_path) as handler:
        task = await handler.on_get_task(GetTaskRequest(id=task_id), caller())
        events = await every(
            handler.on_subscribe_to_task(SubscribeToTaskRequest(id=task_id), caller(after=0))
        )
    assert (task.status.state, task.status.message.parts[0].text) == (FAILED, REASON)
    assert task.artifacts[0].parts[0].text == "a"
    assert numbers(events) == [1, 2, 3, 4]
    assert events[-1].status == task.status


async def test_last_words(executor, tmp_path):
    """What a running task's status said last is kept in its history."""

    async def script(context, queue):
        event = status(context, WORKING, "thinking")
        await queue.enqueue_event(submitted(context))
        await queue.enqueue_event(event)
        await asyncio.Event().wait()

    executor.script = script
    task_id = await leave(executor, tmp_path, events=2)
    await clear_up(tmp_path)
    async with handling(executor, tmp_path) as handler:
        task = await handler.on_get_task(GetTaskRequest(id=task_id), caller())
    assert task.history[-1].parts[0].text == "thinking"


async def test_repeated_message_of_a_failed_task(executor, tmp_path):
    """A message that made a task which was interrupted gets that task, and no other."""
    task_id = await leave(executor, tmp_path)
    await clear_up(tmp_path)
    async with handling(executor, tmp_path) as handler:
        task = await handler.on_message_send(request(message_id="m"), caller())
    assert (task.id, task.status.state) == (task_id, FAILED)


@pytest.mark.parametrize("end", [COMPLETED, INPUT_REQUIRED])
async def test_resting_tasks_stay(executor, tmp_path, end):
    """A task that has ended, or waits for its owner, is left alone."""
    task_id = await leave(executor, tmp_path, end)
    assert await clear_up(tmp_path) == 0
    async with handling(executor, tmp_path) as handler:
        task = await handler.on_get_task(GetTaskRequest(id=task_id), caller())
    assert task.status.state == end


async def test_claims_without_work(executor, tmp_path):
    """A message that was taken, and of which nothing came, is worked on when it comes again."""
    task_id = await leave(executor, tmp_path, INPUT_REQUIRED)
    async with Database(None, tmp_path) as database:
        for message_id, task in (("new", "none"), ("next", task_id)):
            await Messages(database, EventLog(database)).claim(caller().user.user_name, message_id, task)
    await clear_up(tmp_path)
    async with handling(executor, tmp_path) as handler:
        await handler.on_message_send(request(message_id="new"), caller())
        await handler.on_message_send(request(message_id="next", task_id=task_id), caller())
    assert executor.runs == 3


class Watched(Database):
    """Keeps what a kill would leave after each of its commits, in folders below ``folder``."""

    def __init__(self, folder):
        super().__init__(None, folder)
        self._folder = folder
        self.left = []
        self._written = b""

    async def transaction(self, work, then=lambda _result: None):
        def committed(result):
            self._keep()
            then(result)

        return await super().transaction(work, committed)

    def _keep(self):
        files = [self._folder / (FILE + end) for end in ("", "-wal")]
        written = b"".join(file.read_bytes() for file in files)
        if written != self._written:
            self._written = written
            self.left.append(self._folder / str(len(self.left)))
            self.left[-1].mkdir()
            for file in files:
                shutil.copy(file, self.left[-1])


async def obey(context, queue):
    """Answer "say" with a message, "ask" with a question, and anything else with an end."""
    said = context.get_user_input()
    if said == "say":
        await queue.enqueue_event(Message(message_id="a", role=Role.ROLE_AGENT, parts=[Part(text="x")]))
    else:
        await answering("a", end=INPUT_REQUIRED if said == "ask" else COMPLETED)(context, queue)


async def converse(handler, times=1):
    """Ask, go on and say, each as often at once; every answer but one that says so is the same."""

    async def send(said, **fields):
        params = [request(said, message_id=said, **fields) for _ in range(times)]
        streamed = every(handler.on_message_send_stream(params[0], caller()))
        sent = [handler.on_message_send(one, caller()) for one in params]
        first, *others, events = await asyncio.gather(*sent, streamed)
        assert others == [first] * (times - 1)
        assert events
        return first

    async with asyncio.timeout(10):
        task = await send("ask")
        if task.status.state == INPUT_REQUIRED:
            task = await send("go on", task_id=task.id)
        assert (await send("say")).parts[0].text == "x"
        return task


async def test_killed_after_each_commit(tmp_path):
    """Whichever commit was the last: no task has no worker, and every message that comes again is answered."""
    async with Watched(tmp_path) as database:
        handler = DurableHandler(Scripted(obey), database, CARD)
        told = await converse(handler)
        await handler.aclose()
    ends = []
    for folder in database.left:
        assert await clear_up(folder) in (0, 1)
        async with handling(Scripted(obey), folder) as handler:
            for state in (SUBMITTED, WORKING):
                assert not (await handler.on_list_tasks(ListTasksRequest(status=state), caller())).tasks
            task = await converse(handler, times=5)
            log = handler.on_subscribe_to_task(SubscribeToTaskRequest(id=task.id), caller(after=0))
            events = await every(log)
            assert numbers(events) == list(range(1, len(events) + 1))
            ends.append((task.id == told.id, task.status.state))
    again = [(False, COMPLETED)]
    first, second = ([(True, FAILED)] * 3 + [(True, COMPLETED)] for _ in range(2))
    assert ends == [*again, *first, (True, COMPLETED), *second, *[(True, COMPLETED)] * 2]


async def test_killed_while_it_clears_up(executor, tmp_path):
    """A start that is killed on its way is made up for by the next: each task ends once."""
    tasks = [await leave(executor, tmp_path, message_id=one) for one in ("m", "n")]
    async with Watched(tmp_path) as database:
        assert await sweep(database) == 2
    assert [await clear_up(folder) for folder in database.left] == [2, 1, 0]
    for folder in (*database.left, tmp_path):
        async with handling(executor, folder) as handler:
            for task_id in tasks:
                log = handler.on_subscribe_to_task(SubscribeToTaskRequest(id=task_id), caller(after=0))
                events = await every(log)
                assert (numbers(events), events[-1].status.state) == ([1, 2, 3, 4], FAILED)


async def count(database):
    """Return how many tasks, events and messages there are."""
    tables = (TaskRow, EVENTS, MESSAGES)
    queries = [select(func.count()).select_from(table) for table in tables]
    return [await database.transaction(lambda c, query=query: c.scalar(query)) for query in queries]


async def age(database, seconds):
    """Make all that is in the database older."""
    changes = (
        "update tasks set last_updated = datetime(last_updated, :ago)",
        "update messages set created = created + :seconds",
    )
    given = {"ago": f"-{seconds} seconds", "seconds": -seconds}
    for change in changes:
        used = {name: value for name, value in given.items() if f":{name}" in change}
        await database.transaction(lambda c, change=change, used=used: c.execute(text(change), used))


async def test_prune(executor, tmp_path):
    """What has rested for long enough goes, with its events and messages; the rest stays."""
    await leave(executor, tmp_path, COMPLETED, "old")
    async with Database(None, tmp_path) as database:
        await age(database, 2 * DAY)
    await leave(executor, tmp_path, COMPLETED, "new")
    async with Database(None, tmp_path) as database:
        assert await count(database) == [2, 8, 2]
        assert await prune(database, DAY) == 1
        assert await count(database) == [1, 4, 1]


async def test_prune_spares_what_runs(executor, tmp_path):
    """A task that runs is not deleted, however old."""
    await leave(executor, tmp_path)
    async with Database(None, tmp_path) as database:
        await age(database, 2 * DAY)
        assert await prune(database, DAY) == 0
        assert (await count(database))[:2] == [1, 3]


async def test_prune_for_ever(executor, tmp_path, caplog):
    """Pruning goes on, and outlives an error of the database."""
    await leave(executor, tmp_path, COMPLETED)
    async with Database(None, tmp_path) as database:
        await age(database, 2 * DAY)
        await database.transaction(lambda c: c.execute(text("alter table events rename to away")))
        pruning = asyncio.create_task(prune_for_ever(database, DAY, interval=0.01))
        await until(lambda: "could not be deleted" in caplog.text)
        await database.transaction(lambda c: c.execute(text("alter table away rename to events")))
        while await count(database) != [0, 0, 0]:
            assert not pruning.done()
        pruning.cancel()
        await asyncio.wait([pruning])


async def until(condition, limit=10.0):
    """Give other tasks their turns until something is so."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0)
