"""A message's parts as the text that a provider takes, or the reason why not."""

from __future__ import annotations

from collections.abc import Collection

from a2a.types import Message, Part, Role
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError
from google.protobuf import json_format

from pki.errors import shown

TEXT = "text/plain"
JSON = "application/json"


def check_role(message: Message) -> None:
    """Raise InvalidParamsError for a message that is not a user's: an agent has nobody else's to answer."""
    if message.role != Role.ROLE_USER:
        raise InvalidParamsError(message="a message to an agent must have the role ROLE_USER")


def text_of(message: Message, modes: Collection[str]) -> str:
    """Return all parts of ``message`` as text, one below the other.

    ``modes`` are the media types that the card says the agent takes: data comes as JSON and files as their text where
    their type is among them. Addresses are never fetched. Raises ContentTypeNotSupportedError for other parts, and
    InvalidParamsError for a message without any text.
    """
    text = "\n".join(_text(part, modes) for part in message.parts)
    if not text.strip():
        raise InvalidParamsError(message="the message has no text")
    return text


def _text(part: Part, modes: Collection[str]) -> str:
    kind = part.WhichOneof("content")
    media_type = part.media_type.partition(";")[0].strip().lower()
    if kind == "text":
        return (
            part.text
            if not media_type or media_type in modes
            else _refuse(f"text of type {media_type}", modes)
        )
    if kind == "data" and (media_type or JSON) == JSON and JSON in modes:
        return json_format.MessageToJson(part.data, indent=None, ensure_ascii=False)
    if kind == "raw" and media_type in modes and (media_type.startswith("text/") or media_type == JSON):
        return _decoded(part.raw)
    return _refuse(f"a {kind or 'contentless'} part", modes)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidParamsError(message="a part that should be text is not UTF-8") from error


def _refuse(what: str, modes: Collection[str]) -> str:
    raise ContentTypeNotSupportedError(
        message=f"this agent does not take {shown(what)}; it takes {', '.join(sorted(modes))}"
    )
