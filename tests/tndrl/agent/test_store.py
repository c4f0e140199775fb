"""Tasks in the database."""

import pytest
from a2a.server.cluster.event_stream import VersionedEvent
from a2a.server.cluster.task_store import ConcurrentTaskModificationError
from a2a.server.cluster.version import TaskVersion
from a2a.types.a2a_pb2 import (
    Artifact,
    ListTasksRequest,
    Message,
    Part,
    Task,
    TaskArtifactUpdateEvent,
    TaskStatus,
    TaskStatusUpdateEvent,
)

from support.durable import (
    ALICE,
    BOB,
    CANCELED,
    COMPLETED,
    INPUT_REQUIRED,
    SUBMITTED,
    WORKING,
    caller,
    every,
    numbers,
)
from tndrl.agent.database import Database
from tndrl.agent.events import EventLog
from tndrl.agent.extensions import SEQUENCE
from tndrl.agent.store import LocalStream, LoggedTaskStore, Sequence


@pytest.fixture
async def store(tmp_path):
    async with Database("memory", tmp_path) as database:
        yield LoggedTaskStore(database, EventLog(database))


async def save(store, task, event=None, version=TaskVersion.MISSING, owner=ALICE):
    return await store.save(task, event=event, prev=None, prev_version=version, context=caller(owner))


async def make(store, task_id="t", state=WORKING):
    """Store a task; return it and its version."""
    task = Task(id=task_id, context_id="c", status=TaskStatus(state=state))
    return task, await save(store, task, task)


def status(task, state, text=""):
    """Change a task's status; return the event."""
    status = TaskStatus(state=state)
    if text:
        status.message.CopyFrom(Message(message_id=text, parts=[Part(text=text)]))
    task.status.CopyFrom(status)
    return TaskStatusUpdateEvent(task_id=task.id, context_id=task.context_id, status=status)


def chunk(task, text, *, append=True):
    """Return the event of a chunk."""
    artifact = Artifact(artifact_id="a", parts=[Part(text=text)])
    return TaskArtifactUpdateEvent(task_id=task.id, context_id="c", artifact=artifact, append=append)


async def test_first_save(store):
    """A task is stored with its first number and a time, and logged as it is."""
    task, version = await make(store)
    stored = await store.get("t", caller())
    assert version == stored.version == Sequence(1)
    assert stored.task == task
    assert stored.task.status.HasField("timestamp")
    (logged,) = await store._log.read("t", 0)
    assert logged.event == task


async def test_only_the_owner(store):
    """Another caller neither gets a task, nor lists it, nor changes it, nor deletes it."""
    task, version = await make(store)
    assert await store.get("t", caller(BOB)) is None
    assert not (await store.list(ListTasksRequest(), caller(BOB))).tasks
    with pytest.raises(ConcurrentTaskModificationError):
        await save(store, task, status(task, COMPLETED), version, owner=BOB)
    await store.delete("t", caller(BOB))
    assert (await store.get("t", caller())).task.status.state == WORKING


async def test_chunks(store):
    """Chunks are logged only, and stand in the task whoever reads it, alone or in a list."""
    task, version = await make(store)
    for number, text in enumerate("abc"):
        version = await save(store, task, chunk(task, text, append=number > 0), version)
    assert not (await store._rows.get("t", caller())).artifacts
    stored = await store.get("t", caller())
    (listed,) = (await store.list(ListTasksRequest(include_artifacts=True), caller())).tasks
    assert [part.text for part in stored.task.artifacts[0].parts] == ["a", "b", "c"]
    assert listed == stored.task
    assert stored.version == Sequence(4)


async def test_end_is_whole(store):
    """The row of a task that has ended holds all of it."""
    task, version = await make(store)
    event = chunk(task, "a", append=False)
    task.artifacts.append(event.artifact)
    version = await save(store, task, event, version)
    await save(store, task, status(task, COMPLETED), version)
    stored = await store.get("t", caller())
    assert stored.task == task == await store._rows.get("t", caller())
    assert stored.task.metadata[SEQUENCE] == 3


async def test_same_time(store):
    """An event without a time gets the one that its task gets."""
    task, version = await make(store)
    event = status(task, COMPLETED)
    await save(store, task, event, version)
    assert event.status.timestamp == task.status.timestamp != task.status.timestamp.__class__()


@pytest.mark.parametrize("state", [WORKING, COMPLETED, CANCELED])
async def test_nothing_after_the_end(store, state):
    """A task that has ended takes no event, not even a cancellation."""
    task, version = await make(store, state=COMPLETED)
    with pytest.raises(ConcurrentTaskModificationError):
        await save(store, task, status(task, state), version)
    stored = await store.get("t", caller())
    assert (stored.task.status.state, stored.version) == (COMPLETED, Sequence(1))
    assert len(await store._log.read("t", 0)) == 1


async def test_stale_version(store):
    """A change of a task that has changed meanwhile is refused; a cancellation is not."""
    task, version = await make(store)
    await save(store, task, status(task, WORKING), version)
    with pytest.raises(ConcurrentTaskModificationError):
        await save(store, task, status(task, WORKING), version)
    assert await save(store, task, status(task, CANCELED), version) == Sequence(3)


async def test_another_process(store):
    """A change that another process was first with is refused, though this one did not see it."""
    task, version = await make(store)
    with store._log.working("t"):
        version = await save(store, task, status(task, WORKING), version)
        other = LoggedTaskStore(store._database, EventLog(store._database))
        await save(other, task, status(task, WORKING), version)
        with pytest.raises(ConcurrentTaskModificationError):
            await save(store, task, status(task, COMPLETED), version)


async def test_cancelling_what_is_not_there(store):
    """A cancellation makes no task."""
    task = Task(id="t", context_id="c")
    with pytest.raises(ConcurrentTaskModificationError):
        await save(store, task, status(task, CANCELED), Sequence(1))


async def test_next_message_ends_the_waiting(store):
    """A task whose owner's next message came into its history waits no more, so a crash then is no silent loss."""
    task, version = await make(store, state=INPUT_REQUIRED)
    task.history.append(Message(message_id="next"))
    await save(store, task, task, version)
    assert (await store.get("t", caller())).task.status.state == SUBMITTED


async def test_told_once_stored(tmp_path):
    """Whoever wants to know is told of each task that was stored."""
    told = []
    async with Database("memory", tmp_path) as database:
        store = LoggedTaskStore(database, EventLog(database), on_stored=told.append)
        task, _ = await make(store)
    assert told == [task]


async def test_delete(store):
    """A deleted task is gone with its events."""
    await make(store)
    await store.delete("t", caller())
    assert await store.get("t", caller()) is None
    assert await store._log.read("t", 0) == []


async def test_reading_does_what_the_sdk_did(store):
    """A row that is behind the log becomes the same task by the log's events."""
    task, version = await make(store)
    await save(store, task, status(task, WORKING, "thinking"), version)
    row = Task(id="t", context_id="c", status=TaskStatus(state=WORKING))
    row.status.message.message_id = "before"
    row.metadata[SEQUENCE] = 1
    await store._complete(row)
    assert row.history.pop().message_id == "before"
    assert row == (await store.get("t", caller())).task
    await store._complete(unknown := Task(id="t"))
    assert unknown == row


async def test_stream_for_the_sdk(store):
    """The SDK's stream of a task is the log from a version on."""
    task, version = await make(store)
    await save(store, task, status(task, COMPLETED), version)
    stream = LocalStream(store._log)
    await stream.publish("t", VersionedEvent(task, version))
    events = await every(stream.subscribe("t", after=version))
    assert numbers([one.event for one in events]) == [2]
    await stream.destroy("t")
