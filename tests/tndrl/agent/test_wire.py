"""A2A 1.0 on the wire."""

from __future__ import annotations

from contextlib import aclosing

from a2a.types.a2a_pb2 import ListTasksRequest, ListTasksResponse, Message

from support import scripted_agent as scripted
from support.scripted_agent import Script, Scripted10
from tndrl.agent.wire import Wire10, after_metadata


async def test_every_call(short_dir) -> None:
    """Requests and answers are those of the protocol."""
    page = ListTasksResponse(tasks=[scripted.task()])
    script = Script(pages={"": page})
    async with scripted.serving(short_dir, script, [Scripted10]) as line, line.channel(2) as channel:
        wire = Wire10(channel)
        assert await wire.card() == script.card
        assert (await wire.send(Message(message_id="m"))).task == script.result
        assert [event async for event in wire.stream(Message())] == script.events
        assert [event async for event in wire.subscribe("t", 2)] == script.events[2:]
        assert (await wire.get("t")).id == (await wire.cancel("t")).id == "t"
        assert await wire.list(ListTasksRequest()) == page
    assert script.subscriptions == ["2"]


async def test_closing_a_stream_ends_its_call(short_dir) -> None:
    """Nothing of the call is left when its events are no longer wanted."""
    script = Script()
    async with scripted.serving(short_dir, script, [Scripted10]) as line, line.channel(2) as channel:
        async with aclosing(Wire10(channel).stream(Message())) as events:
            await anext(events)
        assert script.messages


def test_a_plain_subscription_has_no_number() -> None:
    """None is no metadata, 0 is all events."""
    assert after_metadata(None) == ()
    assert after_metadata(0) == (("tndrl-after-sequence", "0"),)
