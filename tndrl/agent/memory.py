"""What was said in each conversation, so that a provider can go on with it."""

from __future__ import annotations

from collections import OrderedDict

from tndrl.llm.provider import Turn

MAX_CONVERSATIONS = 1_000
"""Conversations remembered; the one that was quiet for longest is forgotten."""

MAX_TURNS = 100
"""Turns remembered of one conversation."""

MAX_CHARACTERS = 200_000
"""Characters remembered of one conversation."""

MAX_TOTAL = 16_000_000
"""Characters remembered of all conversations together."""


class Memory:
    """The turns of conversations, each of one caller: another caller with the same context ID has its own."""

    def __init__(
        self,
        *,
        conversations: int = MAX_CONVERSATIONS,
        turns: int = MAX_TURNS,
        characters: int = MAX_CHARACTERS,
        total: int = MAX_TOTAL,
    ) -> None:
        self._limits = (conversations, turns, characters, total)
        self._turns: OrderedDict[tuple[str, str], tuple[Turn, ...]] = OrderedDict()
        self._total = 0

    def __repr__(self) -> str:
        return f"<Memory {len(self._turns)} conversations, {self._total} characters>"

    def turns(self, owner: str, context_id: str) -> tuple[Turn, ...]:
        """Return what was said so far, oldest first."""
        return self._turns.get((owner, context_id), ())

    def remember(self, owner: str, context_id: str, *said: Turn) -> None:
        """Add turns to a conversation, and forget what is too much: its oldest turns, then whole conversations."""
        conversations, turns, characters, total = self._limits
        key = (owner, context_id)
        kept = [*self._turns.pop(key, ()), *said]
        self._total += _size(said)
        while kept and (len(kept) > turns or _size(kept) > characters):
            self._total -= len(kept.pop(0).text)
        self._turns[key] = tuple(kept)
        while len(self._turns) > conversations or self._total > total:
            _, forgotten = self._turns.popitem(last=False)
            self._total -= _size(forgotten)


def _size(turns: list[Turn] | tuple[Turn, ...]) -> int:
    return sum(len(turn.text) for turn in turns)
