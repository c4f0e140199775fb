"""The log of events."""

import asyncio
from contextlib import aclosing

import pytest
from a2a.types.a2a_pb2 import Part, Task, TaskState, TaskStatus, TaskStatusUpdateEvent
from sqlalchemy.exc import IntegrityError

from support.durable import COMPLETED, INPUT_REQUIRED, WORKING, every, numbers
from tndrl.agent.database import Database
from tndrl.agent.events import BATCH, TAIL, EventLog


@pytest.fixture
async def database(tmp_path):
    async with Database("memory", tmp_path) as database:
        yield database


@pytest.fixture
def log(database):
    return EventLog(database)


async def append(log, seq, state=WORKING, task_id="t"):
    """Append one status as the store does."""
    task = Task(id=task_id, status=TaskStatus(state=state))
    event = TaskStatusUpdateEvent(task_id=task_id, status=task.status)
    return await log._database.transaction(
        lambda connection: log.append(connection, "owner", event, task, seq),
        lambda logged: log.publish(task_id, logged),
    )


async def take(events, count):
    """Return the numbers of the next events."""
    return [(await anext(events)).seq for _ in range(count)]


async def test_numbers_and_states(log):
    """An event is read back with its number, in its metadata too, and the state after it."""
    for seq, state in enumerate((WORKING, COMPLETED), 1):
        await append(log, seq, state)
    events = await log.read("t", 0)
    assert [(one.seq, one.state) for one in events] == [(1, WORKING), (2, COMPLETED)]
    assert numbers([one.event for one in events]) == [1, 2]
    assert [one.is_last for one in events] == [False, True]


async def test_number_once(log):
    """A number is given to one event only."""
    await append(log, 1)
    with pytest.raises(IntegrityError):
        await append(log, 1)


async def test_follow_to_the_end(log):
    """A task that has ended is followed to its end, in batches, each event once."""
    count = BATCH + 10
    for seq in range(1, count):
        await append(log, seq)
    await append(log, count, COMPLETED)
    assert [one.seq for one in await every(log.follow("t", 0))] == list(range(1, count + 1))
    assert [one.seq for one in await every(log.follow("t", count - 2))] == [count - 1, count]


async def test_follow_past_the_end(log):
    """Who has the last event already gets nothing, even while somebody is still at work."""
    await append(log, 1, COMPLETED)
    with log.working("t"):
        assert await every(log.follow("t", 1)) == []


async def test_follow_live(log):
    """Events come as they are logged while somebody works on the task, and end when nobody does."""
    async with aclosing(log.follow("t", 0)) as events:
        with log.working("t"):
            await append(log, 1)
            assert await take(events, 1) == [1]
            waiting = asyncio.create_task(take(events, 2))
            await append(log, 2)
            await append(log, 3, INPUT_REQUIRED)
            assert await waiting == [2, 3]
            last = asyncio.create_task(every(events))
            await asyncio.sleep(0)
            assert not last.done()
        assert await last == []


async def test_follow_nobodys_task(log):
    """A task that nobody works on keeps nobody waiting."""
    await append(log, 1)
    assert len(await every(log.follow("t", 0))) == 1
    assert await every(log.follow("unknown", 0)) == []


async def test_slow_reader(log):
    """Who falls behind what is in memory misses nothing."""
    count = 3 * TAIL
    with log.working("t"):
        await append(log, 1)
        async with aclosing(log.follow("t", 0)) as events:
            assert await take(events, 1) == [1]
            for seq in range(2, count):
                await append(log, seq)
            await append(log, count, COMPLETED)
            assert len(log._tails["t"]) == TAIL
            assert [one.seq for one in await every(events)] == list(range(2, count + 1))


async def test_begin(log):
    """The first event is waited for while somebody works, and no longer."""
    with log.working("t"):
        waiting = asyncio.create_task(log.begin("t", 0))
        await append(log, 1)
        assert await waiting == WORKING
        waiting = asyncio.create_task(log.begin("t", 1))
        await asyncio.sleep(0)
    assert await waiting == 0


async def test_rest(log):
    """The first state in which a task rests is waited for while somebody works, and no longer."""
    with log.working("t"):
        waiting = asyncio.create_task(log.rest("t", 0))
        for seq, state in enumerate((WORKING, INPUT_REQUIRED, COMPLETED), 1):
            await append(log, seq, state)
        assert await waiting == INPUT_REQUIRED
        assert await log.rest("t", 2) == COMPLETED
        waiting = asyncio.create_task(log.rest("t", 3))
        await asyncio.sleep(0)
    assert await waiting == 0


async def test_nothing_is_left(log):
    """A task that rests takes no memory."""
    with log.working("t"):
        following = asyncio.create_task(every(log.follow("t", 0)))
        await append(log, 1, COMPLETED)
        await following
    assert (log._tails, log._bells, log._worked_on) == ({}, {}, set())


async def test_logged_event_is_a_copy(log):
    """What happens to a task later does not change what was logged of it."""
    task = Task(id="t", status=TaskStatus(state=WORKING))
    with log.working("t"):
        await log._database.transaction(
            lambda connection: log.append(connection, "owner", task, task, 1),
            lambda logged: log.publish("t", logged),
        )
        task.status.message.parts.append(Part(text="later"))
        task.status.state = TaskState.TASK_STATE_COMPLETED
        (logged,) = await log.read("t", 0)
    assert logged.event.status == TaskStatus(state=WORKING)
