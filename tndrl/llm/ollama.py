"""Answers from any server of the OpenAI chat API, Ollama to begin with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from openai.types.chat import ChatCompletionMessageParam

from tndrl.llm import chat_api
from tndrl.llm.provider import Turn, last_prompt
from tndrl.llm.services import ModelPlace


class OllamaProvider:
    """Hands the conversation to a model and its answer on, as it comes.

    ``silence`` is how many seconds may pass without a sign of the model.
    """

    def __init__(
        self, place: ModelPlace, *, system_prompt: str | None = None, silence: float = chat_api.SILENCE
    ) -> None:
        self._place = place
        self._system_prompt = system_prompt
        self._silence = silence
        self._client = chat_api.make_client(place)

    async def reply(self, turns: Sequence[Turn]) -> AsyncGenerator[str]:
        """Answer as ``Provider.reply`` says."""
        last_prompt(turns)
        complete = False
        try:
            request = self._client.chat.completions.create(
                model=self._place.model, messages=self._messages(turns), stream=True
            )
            async with await chat_api.within(self._silence, request) as chunks:
                while chunk := await chat_api.within(self._silence, anext(chunks, None)):
                    text, ends = chat_api.choice_of(chunk)
                    complete = complete or ends
                    if text:
                        yield text
            if not complete:
                raise chat_api.BrokenOffError
        except chat_api.FAILURES as exc:
            raise chat_api.failure(self._place, exc) from None

    async def aclose(self) -> None:
        """Close the connections that wait for the next request."""
        await self._client.close()

    def _messages(self, turns: Sequence[Turn]) -> list[ChatCompletionMessageParam]:
        messages: list[ChatCompletionMessageParam] = []
        if self._system_prompt:
            messages.append({"role": "system", "content": self._system_prompt})
        for turn in turns:
            if turn.role == "user":
                messages.append({"role": "user", "content": turn.text})
            else:
                messages.append({"role": "assistant", "content": turn.text})
        return messages
