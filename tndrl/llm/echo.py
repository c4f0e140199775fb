"""Answers with the prompt, for tests and demonstrations: no model, no network, no chance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from tndrl.errors import ConfigError
from tndrl.llm.provider import Turn, last_prompt

_KEY = "llm.model"
_MOST = 1_000_000
"""Of pieces, characters and seconds: what is more is a slip of the hand."""


@dataclass(frozen=True)
class EchoProvider:
    """Repeats the prompt ``times`` times, in pieces of ``chunk`` characters, each after ``delay`` seconds.

    With ``chunk`` 0 each repetition is one piece, so that ``times`` is the number of pieces.
    """

    chunk: int = 0
    delay: float = 0.0
    times: int = 1

    @classmethod
    def from_text(cls, text: str) -> EchoProvider:
        """Return the provider that ``text`` describes: ``chunk=20,delay=0.05,times=200``, each optional.

        Raises ``ConfigError``.
        """
        options = dict(_option(part.strip()) for part in text.split(",") if part.strip())
        return cls(
            chunk=int(options.get("chunk", 0)),
            delay=options.get("delay", 0.0),
            times=int(options.get("times", 1)),
        )

    async def reply(self, turns: Sequence[Turn]) -> AsyncGenerator[str]:
        """Answer as ``Provider.reply`` says."""
        text = last_prompt(turns)
        size = self.chunk or max(len(text), 1)
        for _ in range(self.times):
            for start in range(0, len(text), size):
                await asyncio.sleep(self.delay)
                yield text[start : start + size]

    async def aclose(self) -> None:
        """Do nothing: nothing is held."""


def _option(part: str) -> tuple[str, float]:
    name, _, value = part.partition("=")
    if name not in ("chunk", "delay", "times"):
        raise ConfigError("echo has the options chunk, delay and times; write chunk=20,delay=0.05", key=_KEY)
    try:
        number = float(value) if name == "delay" else int(value)
    except ValueError:
        number = -1
    if not 0 <= number <= _MOST:
        kind = "seconds" if name == "delay" else "a whole number"
        raise ConfigError(f"{name} must be {kind} from 0 to {_MOST}; write {name}=1", key=_KEY)
    return name, number
