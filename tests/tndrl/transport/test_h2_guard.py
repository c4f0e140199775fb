"""What the guard lets pass and what it does not, without a network (H2-01, 02, 03, 06)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.streams import frame
from tndrl.config import LimitsConfig
from tndrl.transport.codes import ErrorCode
from tndrl.transport.h2_guard import (
    LARGEST_HEADER_BLOCK,
    LARGEST_OTHER_FRAME,
    FrameGuard,
    ViolationError,
    check_preface,
)
from tndrl.transport.http2 import PREFACE
from tndrl.transport.rate import TokenBucket

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
FRAME_INVALID = ErrorCode.FRAME_INVALID
BEGIN = frame(SETTINGS, 0, 0, b"")
ACK = frame(SETTINGS, 1, 0, b"")
CALL = frame(HEADERS, 4, 1, b"x" * 50)
OPEN = frame(HEADERS, 0, 3, b"x" * 50)
LIMITS = LimitsConfig(resets_per_second=5, control_frames_per_second=100)


def fresh(resets: float = 1000) -> FrameGuard:
    """Return a guard of a peer that may reset so many calls on all its streams."""
    return FrameGuard(LIMITS, 10.0, 0.0, TokenBucket(resets, 0.0))


def guard(*frames: bytes) -> FrameGuard:
    """Return a guard that has seen ``frames`` at once."""
    made = fresh()
    made.feed(b"".join(frames), 0.0)
    return made


def refusal(*frames: bytes) -> ErrorCode:
    """Return with which code ``frames`` are refused."""
    with pytest.raises(ViolationError) as raised:
        guard(*frames)
    return raised.value.code


@pytest.mark.parametrize("size", range(len(PREFACE) + 1))
def test_each_beginning_of_a_preface_passes(size: int) -> None:
    """Half a preface may be followed by the other half."""
    check_preface(PREFACE[:size])


@pytest.mark.parametrize(
    "seen", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n", b"PRX", PREFACE[:23] + b"x", b"\0", BEGIN]
)
def test_anything_else_is_no_preface(seen: bytes) -> None:
    """The first byte that is not of a preface decides (H2-01)."""
    with pytest.raises(ViolationError) as raised:
        check_preface(seen)
    assert raised.value.code is ErrorCode.PREFACE_INVALID


@pytest.mark.parametrize("first", [CALL, ACK, frame(DATA, 0, 1, b"x"), frame(PING, 0, 0, bytes(8))])
def test_settings_come_first(first: bytes) -> None:
    """A client that begins with another frame is no HTTP/2 client."""
    assert refusal(first) is ErrorCode.FRAME_INVALID


def test_a_call_and_the_acknowledgement_are_due() -> None:
    """Both must come; then a client may stay silent for as long as it likes (H2-02)."""
    watched = guard(BEGIN)
    assert (watched.due, watched.awaited) == (10.0, "a first call and the acknowledgement of SETTINGS")
    watched.feed(CALL, 3.0)
    assert (watched.due, watched.awaited) == (10.0, "the acknowledgement of SETTINGS")
    watched.feed(ACK, 4.0)
    assert watched.due is None
    assert guard(BEGIN, ACK, CALL).due is None


def test_the_rest_of_headers_is_due() -> None:
    """A header block that is not at its end has a deadline of its own, at any time (H2-02)."""
    watched = guard(BEGIN, ACK, CALL)
    watched.feed(OPEN, 50.0)
    assert (watched.due, watched.awaited) == (60.0, "the rest of HEADERS")
    watched.feed(frame(CONTINUATION, 0, 3, b"x"), 55.0)
    assert watched.due == 60.0
    watched.feed(frame(CONTINUATION, 4, 3, b"x"), 56.0)
    assert watched.due is None


def test_an_open_block_is_no_call() -> None:
    """The deadline of the first call is not met by the beginning of its headers."""
    watched = guard(BEGIN, ACK, OPEN)
    assert watched.due == 10.0
    watched.feed(frame(CONTINUATION, 4, 3, b""), 1.0)
    assert watched.due is None


@pytest.mark.parametrize(
    "after",
    [
        CALL,
        frame(DATA, 0, 3, b"x"),
        frame(PING, 0, 0, bytes(8)),
        frame(CONTINUATION, 4, 5, b"x"),
        frame(0xFA, 0, 0, b"x"),
    ],
)
def test_a_block_is_continued_by_itself_only(after: bytes) -> None:
    """Between HEADERS and its end nothing else may come (RFC 9113 section 6.10)."""
    assert refusal(BEGIN, OPEN, after) is ErrorCode.FRAME_INVALID


def test_a_continuation_needs_a_block() -> None:
    """CONTINUATION without HEADERS is refused."""
    assert refusal(BEGIN, CALL, frame(CONTINUATION, 4, 1, b"x")) is ErrorCode.FRAME_INVALID


def test_headers_have_an_end() -> None:
    """Header blocks are bounded whatever they are cut into."""
    parts = [frame(CONTINUATION, 0, 3, bytes(16384))] * (LARGEST_HEADER_BLOCK // 16384)
    assert guard(BEGIN, OPEN, *parts[1:]).due
    assert refusal(BEGIN, OPEN, *parts) is ErrorCode.EXCESSIVE_LOAD
    assert refusal(BEGIN, frame(HEADERS, 4, 1, bytes(LARGEST_HEADER_BLOCK + 1))) is ErrorCode.EXCESSIVE_LOAD
    whole = frame(HEADERS, 4, 1, bytes(LARGEST_HEADER_BLOCK))
    assert guard(BEGIN, ACK, whole, whole).due is None


@pytest.mark.parametrize(("kind", "length"), [(PRIORITY, 4), (RESET, 5), (PING, 7), (WINDOW, 0)])
def test_frames_of_one_length_have_it(kind: int, length: int) -> None:
    """A frame with a length that its type cannot have is refused."""
    assert refusal(BEGIN, frame(kind, 0, 1, bytes(length))) is ErrorCode.FRAME_INVALID


@pytest.mark.parametrize("kind", [SETTINGS, PUSH, GOAWAY, 0xFA])
def test_only_data_may_be_long(kind: int) -> None:
    """Nothing but DATA and headers may be longer than what every peer must take."""
    longest = frame(kind, 0, 0, bytes(LARGEST_OTHER_FRAME))
    assert guard(BEGIN, longest)
    assert refusal(BEGIN, frame(kind, 0, 0, bytes(LARGEST_OTHER_FRAME + 1))) is ErrorCode.FRAME_INVALID


@pytest.mark.parametrize("kind", [HEADERS, PRIORITY, RESET])
@pytest.mark.parametrize("number", [0, 2, 0x7FFFFFFE])
def test_calls_are_on_streams_of_clients(kind: int, number: int) -> None:
    """Frames of a call stand on odd streams only (RFC 9113 section 5.1.1)."""
    assert (
        refusal(BEGIN, frame(kind, 4, number, bytes({PRIORITY: 5, RESET: 4}.get(kind, 0)))) is FRAME_INVALID
    )


@pytest.mark.parametrize(("kind", "length"), [(SETTINGS, 0), (PING, 8), (GOAWAY, 8)])
def test_what_is_of_the_connection_is_on_no_stream(kind: int, length: int) -> None:
    """Frames of the connection stand on stream 0 only."""
    assert refusal(BEGIN, frame(kind, 0, 1, bytes(length))) is FRAME_INVALID


def test_resets_have_a_rate() -> None:
    """As many calls may be reset as a second allows, and as many again a second later (H2-03)."""
    reset = frame(RESET, 0, 1, bytes(4))
    watched = guard(BEGIN, *[CALL + reset] * 5)
    watched.feed(reset * 5, 1.0)
    with pytest.raises(ViolationError, match="too many calls reset") as raised:
        watched.feed(reset, 1.1)
    assert raised.value.code is ErrorCode.EXCESSIVE_LOAD


def test_no_more_are_reset_at_once_than_may_run() -> None:
    """A second's worth of resets in one moment is a backlog that others would wait behind (H2-03)."""
    limits = LimitsConfig(resets_per_second=200, calls_per_stream=20)
    watched = FrameGuard(limits, 10.0, 0.0, TokenBucket(1000, 0.0))
    reset = frame(RESET, 0, 1, bytes(4))
    watched.feed(BEGIN + reset * 20, 0.0)
    watched.feed(reset * 20, 0.1)
    with pytest.raises(ViolationError, match="too many calls reset"):
        watched.feed(reset, 0.1)


def test_resets_of_all_streams_have_a_rate() -> None:
    """What a peer resets on its other streams counts too."""
    watched = fresh(resets=3)
    with pytest.raises(ViolationError, match="too many calls reset"):
        watched.feed(BEGIN + frame(RESET, 0, 1, bytes(4)) * 4, 0.0)


FLOODS = {
    "settings": BEGIN,
    "settings-acknowledged": ACK,
    "ping": frame(PING, 0, 0, bytes(8)),
    "window-update": frame(WINDOW, 0, 0, b"\0\0\0\x01"),
    "priority": frame(PRIORITY, 0, 1, bytes(5)),
    "empty-data": frame(DATA, 0, 1, b""),
    "unknown": frame(0xFA, 0, 0, b""),
    "continuation": frame(CONTINUATION, 0, 3, b""),
    "goaway": frame(GOAWAY, 0, 0, bytes(8)),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_frames_that_carry_no_call_have_a_rate(kind: str) -> None:
    """Each kind of frame that carries no call has a rate (H2-06)."""
    before = [BEGIN, CALL, *([OPEN] if kind == "continuation" else [])]
    assert guard(*before, *[FLOODS[kind]] * 99)
    assert refusal(*before, *[FLOODS[kind]] * 100) is ErrorCode.EXCESSIVE_LOAD


def test_calls_and_their_bytes_have_none() -> None:
    """Calls, their messages and their ends pass in any number: other limits are theirs."""
    call = CALL + frame(DATA, 0, 1, b"x") + frame(DATA, 1, 1, b"")
    assert guard(BEGIN, *[call] * 1000)


@given(
    sizes=st.lists(st.integers(0, 40_000), max_size=6), cuts=st.lists(st.integers(0, 200_000), max_size=20)
)
def test_cuts_change_nothing(sizes: list[int], cuts: list[int]) -> None:
    """However the bytes are cut, the guard sees the same frames."""
    data = BEGIN + b"".join(frame(DATA, 0, 1, b"\xff" * size) for size in sizes) + ACK + CALL
    watched, at = fresh(), 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        watched.feed(data[at:cut], 0.0)
        at = cut
    assert watched.due is None
    with pytest.raises(ViolationError):
        watched.feed(frame(PING, 0, 0, b""), 0.0)


@given(data=st.binary(max_size=2000))
def test_any_bytes_pass_or_are_refused(data: bytes) -> None:
    """Whatever bytes come, there is no other exception."""
    with contextlib.suppress(ViolationError):
        guard(BEGIN).feed(data, 0.0)
