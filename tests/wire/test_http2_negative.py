"""gRPC's negative HTTP/2 cases, by their published descriptions: a caller of ours and an odd server (H2-13)."""

from __future__ import annotations

import grpc.aio
import pytest

from support.streams import frame
from wire.by_hand import ACK, DATA, PADDED, PING, SETTINGS, Http2, Scene, message

MAX_CONCURRENT_STREAMS = 3
BODY = bytes(3000)
PADDING = 255


async def still_works(scene: Scene, server: Http2, call: int) -> None:
    """Check that the next call on the same stream is answered."""
    later = scene.call(b"")
    await server.until_called(2)
    server.answer(call)
    assert await later == b"0/%d" % call


@pytest.mark.parametrize("case", ["rst_after_header", "rst_during_data", "rst_after_data"])
async def test_a_reset(scene: Scene, case: str) -> None:
    """A call whose answer is broken off fails, whatever has come of it, and no other does."""
    call = scene.call(b"")
    server = await scene.stream(0)
    await server.until_called(1)
    server.begin(1)
    whole = message(BODY)
    if case == "rst_during_data":
        server.send(frame(DATA, 0, 1, whole[: len(whole) // 2]))
    elif case == "rst_after_data":
        server.send(frame(DATA, 0, 1, whole))
    server.reset(1)
    assert await call.code() is not grpc.StatusCode.OK
    await still_works(scene, server, 3)


async def test_ping(scene: Scene) -> None:
    """Each PING of the server is acknowledged with its own eight bytes, before and during a call."""
    call = scene.call(b"")
    server = await scene.stream(0)
    wanted = [number.to_bytes(8, "big") for number in range(4)]
    for data in wanted[:2]:
        server.send(frame(PING, 0, 0, data))
    await server.until_called(1)
    for data in wanted[2:]:
        server.send(frame(PING, 0, 0, data))
    server.answer(1)
    assert await call == b"0/1"
    await server.until(
        lambda: wanted == [body for kind, flags, _, body in server.frames if (kind, flags) == (PING, ACK)]
    )


async def test_max_streams(scene: Scene) -> None:
    """A server that takes one call at a time gets one at a time, and all are answered."""
    first = scene.call(b"")
    server = await scene.stream(0)
    limit = MAX_CONCURRENT_STREAMS.to_bytes(2, "big") + (1).to_bytes(4, "big")
    server.send(frame(SETTINGS, 0, 0, limit))
    await server.until_called(1)
    server.answer(1)
    assert await first == b"0/1"
    await server.until(
        lambda: len([1 for kind, flags, *_ in server.frames if (kind, flags) == (SETTINGS, ACK)]) >= 1
    )
    calls = [scene.call(b"") for _ in range(10)]
    for count in range(2, 12):
        await server.until_called(count)
        assert len(server.calls) == count
        server.answer(server.calls[-1])
    assert len({await call for call in calls}) == 10


async def answered_in_pieces(scene: Scene, padding: bytes) -> tuple[Http2, grpc.aio.UnaryUnaryCall]:
    """Answer a call in many small frames, with ``padding`` behind each if there is any."""
    call = scene.call(b"")
    server = await scene.stream(0)
    await server.until_called(1)
    server.begin(1)
    whole = message(BODY)
    for at in range(0, len(whole), 5):
        piece = whole[at : at + 5]
        if padding:
            server.send(frame(DATA, PADDED, 1, bytes([len(padding)]) + piece + padding))
        else:
            server.send(frame(DATA, 0, 1, piece))
    server.finish(1)
    return server, call


async def test_no_df_padding(scene: Scene) -> None:
    """An answer in many small frames arrives."""
    _server, call = await answered_in_pieces(scene, b"")
    assert await call == BODY


async def test_data_frame_padding(scene: Scene) -> None:
    """Grpcio takes no padded DATA: that call is INTERNAL with the reason, and the next on the stream is answered."""
    server, call = await answered_in_pieces(scene, bytes(255))
    assert (await call.code(), "unsupported data flags" in await call.details()) == (
        grpc.StatusCode.INTERNAL,
        True,
    )
    await still_works(scene, server, 3)
