"""Messages that were taken."""

import pytest
from a2a.types.a2a_pb2 import Message, Task, TaskStatus

from support.durable import ALICE, BOB, WORKING
from tndrl.agent.database import Database
from tndrl.agent.events import EventLog
from tndrl.agent.messages import Claim, Messages


@pytest.fixture
async def messages(tmp_path):
    async with Database("memory", tmp_path) as database:
        yield Messages(database, EventLog(database))


async def append(messages, seq, task_id="t"):
    task = Task(id=task_id, status=TaskStatus(state=WORKING))
    work = lambda connection: messages._log.append(connection, ALICE, task, task, seq)  # noqa: E731
    await messages._database.transaction(work)


async def test_first_claim_wins(messages):
    """A message is taken once; later claims get the first one's task."""
    assert await messages.claim(ALICE, "m", "one") == Claim("one", 0, is_new=True)
    assert await messages.claim(ALICE, "m", "two") == Claim("one", 0, is_new=False)


async def test_find(messages):
    """A message that was taken is found, by its owner."""
    await messages.claim(ALICE, "m", "one")
    assert await messages.find(ALICE, "m") == Claim("one", 0, is_new=False)
    assert await messages.find(BOB, "m") is None


async def test_owners_do_not_meet(messages):
    """Two callers may use the same message ID, and learn nothing of each other."""
    await messages.claim(ALICE, "m", "one")
    assert await messages.claim(BOB, "m", "two") == Claim("two", 0, is_new=True)


async def test_claim_knows_its_place(messages):
    """A message for a task that is there remembers the last event before it."""
    await append(messages, 1)
    assert (await messages.claim(ALICE, "m", "t")).seq == 1


async def test_answer(messages):
    """An answer without a task is kept with its message."""
    await messages.claim(ALICE, "m", "t")
    await messages.answer(ALICE, "m", Message(message_id="a"))
    assert (await messages.claim(ALICE, "m", "t")).answer == Message(message_id="a")


async def test_forget(messages):
    """A claim of which nothing came can be given up."""
    await messages.claim(ALICE, "m", "one")
    await messages.forget(ALICE, "m")
    assert (await messages.claim(ALICE, "m", "two")).is_new


@pytest.mark.parametrize("what", ["event", "answer"])
async def test_forget_keeps_what_was_done(messages, what):
    """A claim after which the task had events, or that was answered, stays."""
    await messages.claim(ALICE, "m", "t")
    if what == "event":
        await append(messages, 1)
    else:
        await messages.answer(ALICE, "m", Message(message_id="a"))
    await messages.forget(ALICE, "m")
    assert not (await messages.claim(ALICE, "m", "t")).is_new
