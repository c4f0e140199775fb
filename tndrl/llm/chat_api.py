"""The OpenAI chat API: a client for it, and what its failures mean.

Failures are told apart by their class only. Their text is the server's, which may repeat a key or a prompt, and
their request knows all headers: neither goes into a log, a peer's answer or an exception of ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai

from tndrl.errors import ProviderError
from tndrl.llm.quiet import quieten
from tndrl.llm.services import ModelPlace

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Seconds that connecting to a model service may take."""

SILENCE = 300.0
"""Seconds after which a service that sends nothing is given up: loading a large model takes minutes."""


class BrokenOffError(Exception):
    """An answer ended without saying that it is complete."""


FAILURES = (openai.OpenAIError, BrokenOffError, TimeoutError, ValueError, RecursionError)
"""What reading an answer raises: the client's own, silence, and what is neither JSON nor text."""

_REASONS = {
    401: "the model service refused our key",
    403: "the model service refused our key",
    404: "the model service has no such model",
    429: "the model service has too much to do",
}

logger = logging.getLogger("tndrl.llm")


def make_client(place: ModelPlace) -> openai.AsyncOpenAI:
    """Return a client for ``place``; it repeats nothing, as a second request doubles what the first may cost."""
    quieten()
    client = openai.AsyncOpenAI(
        api_key=place.key or "none",  # without one the client would take OPENAI_API_KEY
        base_url=place.url,
        max_retries=0,
        timeout=openai.Timeout(None, connect=CONNECT_TIMEOUT),
    )
    if place.service != "openai":
        client.organization = client.project = None  # the environment's, and nobody else's business
    return client


async def within(seconds: float, step: Awaitable[T]) -> T:
    """Return what ``step`` does, or raise ``TimeoutError`` after ``seconds``. Cancelling it cancels the step."""
    async with asyncio.timeout(seconds):
        return await step


def failure(place: ModelPlace, exc: BaseException) -> ProviderError:
    """Return the error for ``exc``, after a line in the log about it. Raise it from None: see the module."""
    causes = list(_causes(exc))
    reason = next(filter(None, map(_reason, causes)), "the model service sent what is no answer")
    names = " from ".join(type(cause).__name__ for cause in causes)
    logger.warning(
        "%s at %s: %s (%s); check llm.url, llm.model and that the service runs",
        place.service,
        _origin(place.url),
        reason,
        names,
    )
    return ProviderError(reason)


def _reason(exc: BaseException) -> str | None:
    if isinstance(exc, (openai.APITimeoutError, TimeoutError)):
        return "the model service did not answer in time"
    if isinstance(exc, openai.APIConnectionError):
        return "the connection to the model service failed"
    if isinstance(exc, openai.APIStatusError):
        verb = "failed" if exc.status_code >= 500 else "refused the request"
        return _REASONS.get(exc.status_code, f"the model service {verb} (HTTP {exc.status_code})")
    if isinstance(exc, BrokenOffError):
        return "the model service's answer broke off"
    if isinstance(exc, openai.APIError):
        return "the model service broke off with an error"
    return None


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__


def _origin(url: str) -> str:
    """Return scheme, host and port: what stands before and after may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def choice_of(chunk: Any) -> tuple[str, bool]:
    """Return the text in a chunk of an answer, and whether it says that the answer is complete.

    The client hands on whatever JSON a server sends, so nothing about the chunk is certain.
    """
    choices = getattr(chunk, "choices", None)
    first = choices[0] if isinstance(choices, list) and choices else None
    text = getattr(getattr(first, "delta", None), "content", None)
    return text if isinstance(text, str) else "", bool(getattr(first, "finish_reason", None))
