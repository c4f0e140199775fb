"""How many connections one identity may have, and when a new one takes the place of an old one (QUIC-22)."""

from __future__ import annotations

import asyncio

import pytest

from pki.spiffe import SpiffeId
from tndrl.errors import NoAnswerError
from tndrl.transport import identity_cap
from tndrl.transport.codes import ErrorCode
from tndrl.transport.identity_cap import IdentityCap


class Line:
    """A connection that answers, fails, or stays silent until it is told otherwise."""

    def __init__(self, name: str = "a", heard_at: float = 0.0, *, answers: bool = True) -> None:
        self.peer_id: SpiffeId | None = SpiffeId.parse(f"spiffe://tndrl/node/{name}")
        self.heard_at = heard_at
        self.closed: tuple[int, str] | None = None
        self.asked = 0
        self.answers = answers
        self.silence: asyncio.Event | None = None

    @property
    def is_closed(self) -> bool:
        return self.closed is not None

    async def ping(self) -> None:
        self.asked += 1
        if self.silence is not None:
            await self.silence.wait()
        if not self.answers:
            raise NoAnswerError("peer", 1)

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


def test_each_identity_has_its_own_count() -> None:
    """One that used up its connections takes none of another's, and one that left makes room."""
    cap: IdentityCap[Line] = IdentityCap(2)
    one, two, three = (Line() for _ in range(3))
    assert [cap.enter(line) for line in (one, two, three)] == [True, True, False]
    assert cap.enter(Line("b"))
    cap.leave(three)
    assert not cap.enter(three)
    cap.leave(one)
    assert cap.enter(three)


def test_nothing_is_kept_of_who_left() -> None:
    """An identity without connections takes no memory."""
    cap: IdentityCap[Line] = IdentityCap(1)
    line = Line()
    cap.enter(line)
    cap.leave(line)
    cap.leave(line)
    assert not cap._members


async def test_one_that_answers_stays() -> None:
    """The longest silent one is asked; as it lives, the newcomer finds no room."""
    cap: IdentityCap[Line] = IdentityCap(2)
    old, fresh = Line(heard_at=1.0), Line(heard_at=2.0)
    cap.enter(old)
    cap.enter(fresh)
    assert not await cap.make_room(Line())
    assert (old.asked, fresh.asked, old.closed) == (1, 0, None)


async def test_one_that_is_dead_is_replaced() -> None:
    """A connection that does not answer is closed, with the reason, and the newcomer is counted instead."""
    cap: IdentityCap[Line] = IdentityCap(1)
    dead, newcomer = Line(answers=False), Line()
    cap.enter(dead)
    assert await cap.make_room(newcomer)
    assert dead.closed == (ErrorCode.NO_ERROR, identity_cap.REPLACED)
    assert not cap.enter(Line())


async def test_silence_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says nothing has so long to answer."""
    monkeypatch.setattr(identity_cap, "ANSWER_TIMEOUT", 0.05)
    cap: IdentityCap[Line] = IdentityCap(1)
    silent = Line()
    silent.silence = asyncio.Event()
    cap.enter(silent)
    assert await cap.make_room(Line())
    assert silent.is_closed


async def test_many_newcomers_ask_each_once() -> None:
    """While one is being asked another newcomer asks the next, and finds no room when all are asked."""
    cap: IdentityCap[Line] = IdentityCap(2)
    lines = [Line(heard_at=1.0), Line(heard_at=2.0)]
    for line in lines:
        line.silence = asyncio.Event()
        cap.enter(line)
    waiting = [asyncio.ensure_future(cap.make_room(Line())) for _ in range(3)]
    assert not await waiting[2]
    assert [line.asked for line in lines] == [1, 1]
    for line in lines:
        assert line.silence is not None
        line.silence.set()
    assert await asyncio.gather(*waiting) == [False, False, False]


async def test_a_newcomer_that_left_takes_no_room() -> None:
    """Who is gone before there was room is not counted."""
    cap: IdentityCap[Line] = IdentityCap(1)
    dead, newcomer = Line(answers=False), Line()
    cap.enter(dead)
    newcomer.close(0, "")
    assert not await cap.make_room(newcomer)
    assert cap.enter(Line())
