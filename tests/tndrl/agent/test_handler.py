"""Requests answered so that nothing is lost or done twice (A2A-05 to A2A-09)."""

import asyncio
import random
from contextlib import aclosing, suppress

import pytest
from a2a.types.a2a_pb2 import (
    AgentCard,
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SubscribeToTaskRequest,
    Task,
)
from a2a.utils.errors import (
    ContentTypeNotSupportedError,
    InternalError,
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from sqlalchemy import text

from support.agents import Puppet
from support.durable import (
    ALICE,
    BOB,
    CANCELED,
    CARD,
    COMPLETED,
    FAILED,
    INPUT_REQUIRED,
    Scripted,
    answering,
    caller,
    every,
    handling,
    numbers,
    request,
)
from support.workshop import Tally
from tndrl.agent.executor import PromptExecutor
from tndrl.agent.extensions import SEQUENCE
from tndrl.agent.supervisor import SupervisedExecutor

ENDS = (COMPLETED, CANCELED, FAILED)


@pytest.fixture
def gate():
    return asyncio.Event()


@pytest.fixture
def executor(gate):
    """Answers in four events, and ends once the gate is open."""
    return Scripted(answering("a", gate=gate))


@pytest.fixture
async def handler(executor, tmp_path):
    async with handling(executor, tmp_path, "memory") as handler:
        yield handler


def send(handler, name=ALICE, **fields):
    return handler.on_message_send(request(**fields), caller(name))


def stream(handler, name=ALICE, **fields):
    return handler.on_message_send_stream(request(**fields), caller(name))


def subscribe(handler, task_id, after=None, name=ALICE):
    return handler.on_subscribe_to_task(SubscribeToTaskRequest(id=task_id), caller(name, after))


def cancel(handler, task_id):
    return handler.on_cancel_task(CancelTaskRequest(id=task_id), caller())


def text_of(task):
    return "".join(part.text for artifact in task.artifacts for part in artifact.parts)


async def park(handler, executor):
    """Return the ID of a task that waits for its owner."""
    executor.script = answering("a", end=INPUT_REQUIRED)
    return (await send(handler)).id


class TestSend:
    async def test_waits_for_the_end(self, handler, gate):
        """A message is answered with its task once that has ended, whole."""
        gate.set()
        task = await send(handler)
        assert (task.status.state, text_of(task)) == (COMPLETED, "a")
        assert task.metadata[SEQUENCE] == 4

    async def test_at_once(self, handler, gate):
        """Who does not want to wait gets the task as soon as it is stored."""
        task = await send(handler, at_once=True)
        assert task.status.state != COMPLETED
        assert await handler.on_get_task(GetTaskRequest(id=task.id), caller()) is not None

    async def test_stream(self, handler, gate):
        """A stream has each event once, numbered from 1."""
        gate.set()
        events = await every(stream(handler))
        assert numbers(events) == [1, 2, 3, 4]
        assert isinstance(events[0], Task)

    async def test_caller_goes_away(self, handler, executor, gate):
        """The work goes on when its caller has gone."""
        async with aclosing(stream(handler)) as events:
            first = await anext(events)
        gate.set()
        assert numbers(await every(subscribe(handler, first.id, after=0))) == [1, 2, 3, 4]

    async def test_history_is_shortened(self, handler, gate):
        """A task comes with as much history as its caller wants."""
        gate.set()
        params = request()
        params.configuration.history_length = 0
        assert not (await handler.on_message_send(params, caller())).history

    async def test_slow_reader(self, handler, executor):
        """A reader who falls thousands of events behind gets all of them."""
        executor.script = answering(*["x"] * 2500)
        async with aclosing(stream(handler)) as events:
            first = await anext(events)
            assert (await handler._log.rest(first.id, 0)) == COMPLETED
            assert numbers(await every(events)) == list(range(2, 2504))

    async def test_no_streaming(self, executor, gate, tmp_path):
        """An agent whose card says that it does not stream answers whole, and does not stream."""
        card = AgentCard()
        card.CopyFrom(CARD)
        card.capabilities.streaming = False
        gate.set()
        async with handling(executor, tmp_path, "memory", card) as handler:
            task = await send(handler)
            for streamed in (stream(handler), subscribe(handler, task.id)):
                with pytest.raises(UnsupportedOperationError):
                    await every(streamed)


class TestRepeated:
    async def test_at_once(self, handler, executor, gate):
        """A message that comes a hundred times at once is one task, whoever waits and whoever streams."""
        waiting = [asyncio.create_task(send(handler, message_id="m")) for _ in range(50)]
        streaming = [asyncio.create_task(every(stream(handler, message_id="m"))) for _ in range(50)]
        await asyncio.sleep(0)
        gate.set()
        tasks = await asyncio.gather(*waiting)
        assert all(task == tasks[0] for task in tasks)
        assert [numbers(events) for events in await asyncio.gather(*streaming)] == [[1, 2, 3, 4]] * 50
        assert executor.runs == 1

    async def test_later(self, handler, executor, gate):
        """A message that comes again after its task has ended gets the same, as an answer and as a stream."""
        gate.set()
        task = await send(handler, message_id="m")
        assert await send(handler, message_id="m") == task
        assert numbers(await every(stream(handler, message_id="m"))) == [1, 2, 3, 4]
        assert executor.runs == 1

    async def test_after_restart(self, executor, gate, tmp_path):
        """A message that comes again after a restart is not worked on again."""
        gate.set()
        async with handling(executor, tmp_path) as handler:
            task = await send(handler, message_id="m")
        async with handling(executor, tmp_path) as handler:
            assert await send(handler, message_id="m") == task
        assert executor.runs == 1

    async def test_by_another(self, handler, executor, gate):
        """Another caller's message of the same ID is another message."""
        gate.set()
        one, two = await send(handler, message_id="m"), await send(handler, BOB, message_id="m")
        assert one.id != two.id
        assert executor.runs == 2

    async def test_message_answer(self, handler, executor, tmp_path):
        """An answer without a task is given again."""

        async def script(context, queue):
            await queue.enqueue_event(Message(message_id="a", role=Role.ROLE_AGENT, parts=[Part(text="x")]))

        executor.script = script
        first = await send(handler, message_id="m")
        assert first.parts[0].text == "x"
        assert await send(handler, message_id="m") == first
        assert await every(stream(handler, message_id="m")) == [first]
        assert executor.runs == 1

    async def test_follow_up(self, handler, executor):
        """A repeated message for a task is no second turn, and its stream begins where its turn did."""
        task_id = await park(handler, executor)
        executor.script = answering("b")
        task = await send(handler, message_id="m", task_id=task_id)
        assert await send(handler, message_id="m", task_id=task_id) == task
        assert numbers(await every(stream(handler, message_id="m", task_id=task_id))) == [5, 6, 7, 8]
        assert executor.runs == 2

    async def test_behind_another(self, handler, executor, gate):
        """A repeated message for a task has its answer at once, though another is worked on."""
        task_id = await park(handler, executor)
        await send(handler, message_id="m", task_id=task_id)
        begun = asyncio.Event()

        async def script(context, queue):
            begun.set()
            await answering("c", gate=gate)(context, queue)

        executor.script = script
        another = asyncio.create_task(send(handler, task_id=task_id))
        await begun.wait()
        repeated = await send(handler, message_id="m", task_id=task_id)
        streamed = await every(stream(handler, message_id="m", task_id=task_id))
        assert (repeated.id, numbers(streamed)) == (task_id, [5, 6, 7, 8])
        assert (another.done(), executor.runs) == (False, 3)
        gate.set()
        assert (await another).status.state == COMPLETED

    async def test_refused(self, handler, executor, gate):
        """A message that was refused may be sent again."""
        with pytest.raises(TaskNotFoundError):
            await send(handler, message_id="m", task_id="none")
        gate.set()
        assert (await send(handler, message_id="m")).status.state == COMPLETED


class TestFollowUp:
    async def test_context(self, handler, executor):
        """A message that names a task alone is in that task's context."""
        task_id = await park(handler, executor)
        executor.script = answering("b")
        task = await send(handler, task_id=task_id)
        assert (task.id, task.status.state) == (task_id, COMPLETED)

    async def test_own_context(self, handler, executor):
        """A message may name its task and its context."""
        task_id = await park(handler, executor)
        task = await handler.on_get_task(GetTaskRequest(id=task_id), caller())
        executor.script = answering("b")
        task = await send(handler, task_id=task_id, context_id=task.context_id)
        assert task.status.state == COMPLETED

    async def test_after_restart(self, executor, tmp_path):
        """A task that waits for its owner can be continued after a restart."""
        async with handling(executor, tmp_path) as handler:
            task_id = await park(handler, executor)
        executor.script = answering("b")
        async with handling(executor, tmp_path) as handler:
            assert (await send(handler, task_id=task_id)).status.state == COMPLETED

    async def test_one_after_the_other(self, handler, executor):
        """A hundred messages for one task are worked on in turn, and none is lost."""
        task_id = await park(handler, executor)
        ids = [str(number) for number in range(100)]
        tasks = await asyncio.gather(*(send(handler, message_id=one, task_id=task_id) for one in ids))
        assert executor.runs == 101
        last = max(tasks, key=lambda task: task.metadata[SEQUENCE])
        assert set(ids) <= {message.message_id for message in last.history}

    async def test_after_the_end(self, handler, gate):
        """A message for a task that has ended is refused."""
        gate.set()
        task = await send(handler)
        with pytest.raises(UnsupportedOperationError):
            await send(handler, task_id=task.id)

    async def test_behind_the_end(self, handler, executor, gate):
        """A message that waited while its task ended is refused, and may be repeated."""
        first = await send(handler, at_once=True)
        second = asyncio.create_task(send(handler, task_id=first.id))
        for _ in range(
            10
        ):  # the database serves one after the other, so the second had all the time it wants
            await handler.on_get_task(GetTaskRequest(id=first.id), caller())
        gate.set()
        with pytest.raises(UnsupportedOperationError):
            await second
        assert executor.runs == 1


class TestSubscribe:
    async def test_plain(self, handler, gate):
        """A plain subscription is the task as it is, and then what happens."""
        first = await send(handler, at_once=True)
        async with aclosing(subscribe(handler, first.id)) as events:
            snapshot = await anext(events)
            gate.set()
            rest = numbers(await every(events))
        assert isinstance(snapshot, Task)
        assert numbers([snapshot])[0] + 1 == rest[0]
        assert rest[-1] == 4

    async def test_plain_after_the_end(self, handler, gate):
        """A plain subscription to a task that has ended is refused, as the SDK does."""
        gate.set()
        task = await send(handler)
        with pytest.raises(UnsupportedOperationError):
            await every(subscribe(handler, task.id))

    @pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 5])
    async def test_resumed(self, handler, gate, after):
        """A subscription that names its last number gets what follows, also after the end."""
        gate.set()
        task = await send(handler)
        events = await every(subscribe(handler, task.id, after))
        assert numbers(events) == list(range(after + 1, 5))

    async def test_cut_after_every_event(self, handler, executor):
        """A stream that is cut after every event and resumed has each event once."""
        executor.script = answering(*["x"] * 197)
        seen = []
        async with aclosing(stream(handler)) as events:
            first = await anext(events)
        seen += numbers([first])
        while seen[-1] < 200:
            async with aclosing(subscribe(handler, first.id, seen[-1])) as events:
                seen += numbers([await anext(events)])
        assert seen == list(range(1, 201))

    async def test_waiting_task(self, handler, executor):
        """A subscription to a task that waits for its owner does not hang."""
        task_id = await park(handler, executor)
        (snapshot,) = await every(subscribe(handler, task_id))
        assert snapshot.status.state == INPUT_REQUIRED


class TestOwner:
    async def test_nobody_elses(self, handler, executor):
        """Another caller's requests for a task are answered as if it were not there."""
        task_id = await park(handler, executor)
        bob = caller(BOB)
        calls = [
            handler.on_get_task(GetTaskRequest(id=task_id), bob),
            handler.on_cancel_task(CancelTaskRequest(id=task_id), bob),
            send(handler, BOB, task_id=task_id),
            every(subscribe(handler, task_id, name=BOB)),
            every(subscribe(handler, task_id, 0, name=BOB)),
        ]
        for call in calls:
            with pytest.raises(TaskNotFoundError):
                await call
        assert not (await handler.on_list_tasks(ListTasksRequest(), bob)).tasks


class TestCancel:
    async def test_running(self, handler):
        """A running task is canceled, and its stream ends with that."""
        events = stream(handler)
        first = await anext(events)
        assert (await cancel(handler, first.id)).status.state == CANCELED
        assert (await every(events))[-1].status.state == CANCELED

    async def test_ended(self, handler, gate):
        """A task that has ended is not cancelable."""
        gate.set()
        task = await send(handler)
        with pytest.raises(TaskNotCancelableError):
            await cancel(handler, task.id)

    async def test_waiting(self, handler, executor):
        """A task that waits for its owner can be canceled, also when this process does not know it."""
        task_id = await park(handler, executor)
        assert (await cancel(handler, task_id)).status.state == CANCELED

    async def test_waiting_after_restart(self, executor, tmp_path):
        """A task that waited before a restart can be canceled."""
        async with handling(executor, tmp_path) as handler:
            task_id = await park(handler, executor)
        async with handling(executor, tmp_path) as handler:
            assert (await cancel(handler, task_id)).status.state == CANCELED

    async def test_caller_goes_away(self, handler):
        """A cancellation is carried out though its caller has gone."""
        events = stream(handler)
        first = await anext(events)
        calling = asyncio.create_task(cancel(handler, first.id))
        await asyncio.sleep(0)
        calling.cancel()
        assert (await every(events))[-1].status.state == CANCELED

    async def test_by_ten(self, handler):
        """Ten who cancel at once cancel once."""
        first = await anext(stream(handler))
        await asyncio.gather(*(cancel(handler, first.id) for _ in range(10)), return_exceptions=True)
        events = await every(subscribe(handler, first.id, 0))
        assert [event.status.state for event in events if hasattr(event, "status")].count(CANCELED) == 1

    @pytest.mark.parametrize(
        "count", [100, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
    )
    async def test_races_the_end(self, tmp_path, count):
        """A task that is canceled while it completes has one end, which all are told alike."""
        dice = random.Random(count)
        provider = Puppet("a", then="hold")
        executor = SupervisedExecutor(PromptExecutor(provider))
        ends = set()
        async with handling(executor, tmp_path) as handler:
            for _ in range(count):
                ends.add(await race(handler, provider, dice))
        assert ends == {COMPLETED, CANCELED}


async def race(handler, provider, dice):
    """Cancel a task about when its provider ends; return the state it ended in."""
    provider.released = Tally()
    events = stream(handler)
    seen = [await anext(events) for _ in range(3)]
    released = asyncio.create_task(later(dice.uniform(0, 0.01), provider.released.add))
    canceled = False
    with suppress(TaskNotCancelableError):
        await later(dice.uniform(0, 0.005))
        canceled = (await cancel(handler, seen[0].id)).status.state == CANCELED
    await released
    seen += await every(events)
    ends = [
        event.status.state for event in seen if getattr(event, "status", None) and event.status.state in ENDS
    ]
    task = await handler.on_get_task(GetTaskRequest(id=seen[0].id), caller())
    assert numbers(seen) == list(range(1, len(seen) + 1))
    assert ends == [task.status.state] == [CANCELED if canceled else COMPLETED]
    return task.status.state


async def later(seconds, then=lambda: None):
    """Call ``then`` after some time."""
    await asyncio.sleep(seconds)
    then()


class TestFaults:
    @pytest.mark.parametrize("error", [ContentTypeNotSupportedError("no pictures"), ValueError("secret")])
    async def test_executor_raises(self, handler, executor, error):
        """What the executor refuses reaches the caller, and what it raises otherwise does not."""

        async def script(context, queue):
            raise error

        executor.script = script
        wanted = InternalError if isinstance(error, ValueError) else type(error)
        for answer in (send(handler), every(stream(handler))):
            with pytest.raises(wanted) as caught:
                await answer
            assert "secret" not in str(caught.value)

    async def test_event_of_another_task(self, handler, executor):
        """An event for another task fails the task, and touches no other."""
        task_id = await park(handler, executor)

        async def script(context, queue):
            await answering("a", end=INPUT_REQUIRED)(context, queue)
            await queue.enqueue_event(Task(id=task_id, context_id="c"))

        executor.script = script
        first = await anext(stream(handler, message_id="m"))
        assert (await handler._log.rest(first.id, 0)) in (INPUT_REQUIRED, FAILED)
        parked = await handler.on_get_task(GetTaskRequest(id=task_id), caller())
        assert parked.status.state == INPUT_REQUIRED

    async def test_events_after_the_end(self, executor, tmp_path):
        """Events after the one that ends a task are not shown and change nothing."""

        async def script(context, queue):
            for _ in range(2):
                await answering("a")(context, queue)

        async with handling(SupervisedExecutor(Scripted(script)), tmp_path, "memory") as handler:
            events = await every(stream(handler))
            assert numbers(events) == [1, 2, 3, 4]
            assert numbers(await every(subscribe(handler, events[0].id, 0))) == [1, 2, 3, 4]

    @pytest.mark.parametrize("field", ["message_id", "context_id"])
    @pytest.mark.parametrize("text", ["x" * 129, "a\0b"], ids=["long", "nul"])
    async def test_bad_ids(self, handler, field, text):
        """IDs that callers make up are bounded."""
        with pytest.raises(InvalidParamsError):
            await send(handler, **{field: text})

    async def test_missing_fields(self, handler):
        """A message without an ID is refused by the name of the field."""
        with pytest.raises(InvalidParamsError) as caught:
            await send(handler, message_id="")
        assert "message_id" in str(caught.value.data)


async def test_closing_leaves_tasks_as_they_are(executor, tmp_path):
    """A task that runs when the handler is closed stays as it is, for the next start to find."""
    async with handling(executor, tmp_path) as handler:
        first = await anext(stream(handler))
        assert await handler._log.begin(first.id, 2)
    async with handling(executor, tmp_path) as handler:
        assert numbers(await every(subscribe(handler, first.id, 0))) == [1, 2, 3]


async def test_closing_before_there_is_a_task(executor, tmp_path):
    """A message of which nothing came when the handler is closed is not answered, and may be sent again."""
    begun = asyncio.Event()

    async def script(context, queue):
        begun.set()
        await asyncio.Event().wait()

    executor.script = script
    async with handling(executor, tmp_path) as handler:
        waiting = asyncio.create_task(send(handler))
        await begun.wait()
    with pytest.raises(InternalError):
        await waiting


async def test_database_fails(handler, executor):
    """A message that the database cannot take is refused without a word of why."""
    drop = text("drop table messages")
    await handler._store._database.transaction(lambda connection: connection.execute(drop))
    for answer in (send(handler), every(stream(handler))):
        with pytest.raises(InternalError) as caught:
            await answer
        assert "messages" not in str(caught.value)
    assert executor.runs == 0


async def test_nothing_is_kept_in_memory(handler, gate):
    """What a message took in memory is given back."""
    gate.set()
    await send(handler)
    await asyncio.gather(*handler._tasks)
    assert (handler._sending, handler._log._tails, dict(handler._turns)) == ({}, {}, {})
