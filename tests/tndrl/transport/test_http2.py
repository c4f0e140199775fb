"""The little of HTTP/2 that a bridge speaks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import streams
from tndrl.transport import http2
from tndrl.transport.http2 import Answers, FrameGate, FrameHeads, Head, Opening, goaway

LARGE = http2.LARGEST_HELD_FRAME


def frame(length: int) -> bytes:
    """Return a frame with a body of so many bytes."""
    return streams.frame(0, 0, 1, bytes(length))


def test_settings_and_goaway_are_frames() -> None:
    """Both are what RFC 9113 sections 6.5 and 6.8 say: stream 0, and a last stream that covers every call."""
    assert streams.frame(4, 0, 0, b"") == http2.SETTINGS
    body = bytes.fromhex("7fffffff 00000000") + b"bye"
    assert goaway("bye") == streams.frame(7, 0, 0, body)


@given(
    lengths=st.lists(
        st.integers(0, 3000) | st.sampled_from([LARGE - 9, LARGE - 8, LARGE, 3 * LARGE]), max_size=8
    ),
    cuts=st.lists(st.integers(0, 400_000), max_size=30),
)
def test_the_gate_passes_whole_frames(lengths: list[int], cuts: list[int]) -> None:
    """However the bytes are cut, they come out unchanged, and up to the end of a frame unless it is a large one."""
    frames = [frame(length) for length in lengths]
    data, ends = b"".join(frames), {0, *itertools.accumulate(map(len, frames))}
    gate, passed, at = FrameGate(), b"", 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        passed += gate.feed(data[at:cut])
        at = cut
        assert gate.is_between_frames == (len(passed) in ends)
        if len(passed) not in ends:
            assert (
                min(end for end in ends if end > len(passed)) - max(end for end in ends if end < len(passed))
                > LARGE
            )
    assert passed == data


def test_a_small_frame_is_held_until_it_is_whole() -> None:
    """Nothing of a frame of up to 64 KiB is passed on before its last byte."""
    gate, whole = FrameGate(), frame(LARGE - 9)
    assert gate.feed(whole[:-1]) == b""
    assert gate.is_between_frames
    assert gate.feed(whole[-1:]) == whole


def test_a_large_frame_is_passed_on_as_it_comes() -> None:
    """A larger frame does not fill memory, and until its end nothing may be put in."""
    gate, whole = FrameGate(), frame(LARGE)
    assert gate.feed(whole[:100]) == whole[:100]
    assert not gate.is_between_frames
    assert gate.feed(whole[100:] + frame(3)[:5]) == whole[100:]
    assert gate.is_between_frames


CLIENT = streams.request("Any") + streams.message(b"body", end=True)


@given(
    lengths=st.lists(st.integers(0, 3000), max_size=6),
    passing=st.integers(0, 100),
    cuts=st.lists(st.integers(0, 20_000), max_size=30),
)
def test_frames_are_noted_however_they_are_cut(lengths: list[int], passing: int, cuts: list[int]) -> None:
    """Each frame is noted once, when its header is whole, and all bytes are passed on."""
    frames = [streams.frame(kind, 5, kind + 1, bytes(length)) for kind, length in enumerate(lengths)]
    data = bytes(passing) + b"".join(frames)
    heads, passed, noted, at = FrameHeads(passing), b"", list[Head](), 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        passed += heads.feed(data[at:cut])
        noted += heads.take()
        at = cut
    assert passed == data
    assert noted == [Head(kind, 5, kind + 1) for kind in range(len(lengths))]


# The acknowledgement of SETTINGS that no server sent

ACK = streams.frame(4, 1, 0, b"")


def test_early_settings_limit_the_calls_at_once() -> None:
    """RFC 9113 section 6.5.2: without SETTINGS_MAX_CONCURRENT_STREAMS a client may begin any number."""
    assert streams.frame(4, 0, 0, bytes.fromhex("0003 00000001")) == http2.EARLY_SETTINGS
    assert streams.frame(4, 0, 0, bytes.fromhex("0003 00000064")) == http2.early_settings(100)


def answered(first: bytes, size: int = 1 << 20) -> tuple[bytes, list[int]]:
    """Return what a client gets of a server that begins with ``first``, in pieces, and what was learned of it."""
    learned: list[int] = []
    answers, data = Answers(learned.append), first + frame(3) + http2.SETTINGS
    passed = b"".join(answers.feed(data[at : at + size]) for at in range(0, len(data), size))
    return passed.removesuffix(frame(3) + http2.SETTINGS), learned


OTHERS = "0004 00400000 0005 00004000"
SAYS = streams.frame(4, 0, 0, bytes.fromhex(f"{OTHERS} 0003 0000000a"))
SAYS_NOTHING = streams.frame(4, 0, 0, bytes.fromhex(OTHERS))


@pytest.mark.parametrize("size", [1, 9, 20, 1 << 20])
def test_a_server_that_says_how_many_calls_it_takes(size: int) -> None:
    """Its SETTINGS reach the client as they are, and the number is known for the next stream."""
    assert answered(SAYS, size) == (SAYS, [10])


@pytest.mark.parametrize("first", [SAYS_NOTHING, http2.SETTINGS])
@pytest.mark.parametrize("size", [1, 9, 20, 1 << 20])
def test_a_server_that_does_not_say(first: bytes, size: int) -> None:
    """The client was told a number before: it is told that there is none."""
    body = first[9:] + bytes.fromhex("0003 ffffffff")
    assert answered(first, size) == (streams.frame(4, 0, 0, body), [http2.UNLIMITED])


@pytest.mark.parametrize("first", [ACK, frame(20), frame(LARGE)], ids=["ack", "data", "large"])
def test_a_server_that_begins_with_something_else(first: bytes) -> None:
    """What is no SETTINGS frame is the client's to judge, and teaches nothing."""
    assert answered(first) == (first, [])


def test_settings_that_are_none() -> None:
    """A length that is no multiple of six stays none, so that the client refuses it."""
    passed, _learned = answered(streams.frame(4, 0, 0, b"odd"))
    assert int.from_bytes(passed[:3], "big") % 6


@given(
    before=st.lists(st.integers(0, 30_000), max_size=4),
    after=st.lists(
        st.sampled_from([ACK, http2.SETTINGS, CLIENT[len(http2.PREFACE) :], frame(100)]), max_size=5
    ),
    cuts=st.lists(st.integers(0, 200_000), max_size=30),
)
def test_one_acknowledgement_is_dropped(before: list[int], after: list[bytes], cuts: list[int]) -> None:
    """However the bytes are cut, the first acknowledgement is missing from them and nothing else."""
    head, tail = http2.PREFACE + b"".join(frame(length) for length in before), b"".join(after)
    data = head + ACK + tail
    opening, passed, at = Opening(FrameGate()), b"", 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        passed += opening.feed(data[at:cut])
        at = cut
    assert passed == head + tail


def test_without_an_acknowledgement_nothing_is_dropped() -> None:
    """SETTINGS of the client's own are no acknowledgement."""
    opening = Opening(FrameGate())
    assert opening.feed(CLIENT) == CLIENT
    assert opening.feed(ACK + ACK) == ACK


def test_a_server_that_answers_ends_the_notes() -> None:
    """Until the server begins, what the client sends is noted for who may have to answer instead; then no more."""
    answers = FrameGate()
    opening = Opening(answers)
    opening.feed(http2.PREFACE + ACK + frame(3))
    assert opening.take() == [Head(4, 1, 0), Head(0, 0, 1)]
    answers.feed(http2.SETTINGS)
    assert opening.feed(frame(5)) == frame(5)
    assert opening.take() == []
