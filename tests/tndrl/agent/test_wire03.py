"""A2A 0.3 on the wire."""

from __future__ import annotations

import pytest
from a2a.types.a2a_pb2 import ListTasksRequest, Message, Role

from support import scripted_agent as scripted
from support.scripted_agent import Script, Scripted03
from tndrl.agent.extensions import claimed_identity, numbers_events
from tndrl.agent.wire03 import Wire03

PROMPT = Message(message_id="m", role=Role.ROLE_USER, parts=[{"text": "hello"}])


async def test_every_call(short_dir) -> None:
    """Requests and answers are those of 1.0 on this side and of 0.3 on the other."""
    script = Script()
    async with scripted.serving(short_dir, script, [Scripted03]) as line, line.channel(2) as channel:
        wire = Wire03(channel)
        assert (await wire.send(PROMPT)).task.id == scripted.TASK
        assert [event async for event in wire.stream(PROMPT)] == script.events
        assert [event async for event in wire.subscribe("t", 2)] == script.events[2:]
        assert (await wire.get("t")).id == (await wire.cancel("t")).id == "t"
        with pytest.raises(NotImplementedError):
            await wire.list(ListTasksRequest())
    assert [message.parts[0].text for message in script.messages] == ["hello", "hello"]
    assert script.subscriptions == ["2"]


async def test_the_card(short_dir) -> None:
    """The extensions survive the old form."""
    script = Script()
    async with scripted.serving(short_dir, script, [Scripted03]) as line, line.channel(2) as channel:
        card = await Wire03(channel).card()
    assert (claimed_identity(card), numbers_events(card)) == (scripted.IDENTITY, True)


async def test_a_message_for_an_answer(short_dir) -> None:
    """An answer without a task is a message."""
    script = Script(result=scripted.said("hi"))
    async with scripted.serving(short_dir, script, [Scripted03]) as line, line.channel(2) as channel:
        answer = await Wire03(channel).send(PROMPT)
    assert answer.message.parts[0].text == "hi"
