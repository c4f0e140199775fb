"""A server's GOAWAY on a stream (RFC 9113 section 6.8): running calls finish, others go to a new stream (H2-12)."""

from __future__ import annotations

import grpc.aio
import pytest

from wire.by_hand import Scene

HIGHEST = 0x7FFFFFFF


async def test_before_any_call_is_taken(scene: Scene) -> None:
    """A call that the server says it has not touched is made again on a new stream; the caller sees an answer only."""
    call = scene.call(b"")
    first = await scene.stream(0)
    first.go_away(0)
    first.end()
    second = await scene.stream(1)
    await second.until_called(1)
    second.answer(1)
    assert await call == b"4/1"


async def test_between_two_calls(scene: Scene) -> None:
    """After a GOAWAY the next call goes to a new stream of the same connection."""
    call = scene.call(b"")
    first = await scene.stream(0)
    await first.until_called(1)
    first.answer(1)
    assert await call == b"0/1"
    first.go_away(1)
    first.end()
    call = scene.call(b"")
    second = await scene.stream(1)
    await second.until_called(1)
    second.answer(1)
    assert await call == b"4/1"


@pytest.mark.parametrize("announced", [False, True])
async def test_a_lower_last_stream(scene: Scene, announced: bool) -> None:
    """Calls up to the last stream ID finish where they are, later ones are made again; a first GOAWAY may name all."""
    calls = [scene.call(b"") for _ in range(3)]
    first = await scene.stream(0)
    await first.until_called(3)
    if announced:
        first.go_away(HIGHEST)
    first.go_away(3)
    second = await scene.stream(1)
    await second.until_called(1)
    second.answer(1)
    for call in (1, 3):
        first.answer(call)
    first.end()
    assert sorted([await call for call in calls]) == [b"0/1", b"0/3", b"4/1"]
    assert [await call.code() for call in calls] == [grpc.StatusCode.OK] * 3


async def test_during_a_call(scene: Scene) -> None:
    """A call under way when GOAWAY comes is answered, though the next is on another stream already."""
    running = scene.call(b"")
    first = await scene.stream(0)
    await first.until_called(1)
    first.go_away(1)
    await first._peer.settle()
    later = scene.call(b"")
    second = await scene.stream(1)
    await second.until_called(1)
    second.answer(1)
    assert await later == b"4/1"
    first.answer(1)
    first.end()
    assert await running == b"0/1"
