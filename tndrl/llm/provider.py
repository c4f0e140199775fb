"""What answers a prompt: the protocol that every model provider follows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tndrl.errors import UsageError


@dataclass(frozen=True)
class Turn:
    """One side's words in a conversation."""

    role: Literal["user", "agent"]
    text: str


class Provider(Protocol):
    """Answers prompts. One provider serves any number of conversations at once, all on one event loop."""

    def reply(self, turns: Sequence[Turn]) -> AsyncGenerator[str]:
        """Answer the last of ``turns``, oldest first, in pieces of text that belong together as they are.

        Nothing is asked of the model before the first piece is. Cancelling the task that waits for a piece, or
        closing the generator (``contextlib.aclosing``), ends the request to the model before it returns.
        Raises ``ProviderError`` when the model fails, pieces may have come before; ``UsageError`` unless the
        last turn is the user's.
        """
        ...

    async def aclose(self) -> None:
        """Give up what is held between replies, when none is running. Doing it again does nothing."""
        ...


def last_prompt(turns: Sequence[Turn]) -> str:
    """Return what is to be answered; raises ``UsageError`` unless the last turn is the user's."""
    if not turns or turns[-1].role != "user":
        raise UsageError("there is nothing to answer; the last turn must be the user's")
    return turns[-1].text
