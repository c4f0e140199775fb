"""Which parts of a message reach the provider."""

from __future__ import annotations

import pytest
from a2a.types import Message, Part, Role
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError
from google.protobuf.struct_pb2 import Struct, Value

from tndrl.agent.parts import JSON, TEXT, check_role, text_of

DATA = Value(struct_value=Struct(fields={"a": Value(string_value="\u00e4")}))


def message(*parts: Part) -> Message:
    return Message(role=Role.ROLE_USER, parts=parts)


def test_all_text_parts() -> None:
    """Every text part is taken, in order, one below the other."""
    assert text_of(message(Part(text="a"), Part(text="b", media_type=TEXT)), {TEXT}) == "a\nb"


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Part(data=DATA), '{"a": "\u00e4"}'),
        (Part(data=DATA, media_type=JSON), '{"a": "\u00e4"}'),
        (Part(raw=b"[1]", media_type=JSON), "[1]"),
        (Part(raw=b"a,b", media_type="Text/CSV; charset=utf-8"), "a,b"),
        (Part(text="a,b", media_type="text/csv"), "a,b"),
    ],
)
def test_what_the_card_names(part: Part, text: str) -> None:
    """Data and files of a type that the card names are passed on as text."""
    assert text_of(message(part), {TEXT, JSON, "text/csv"}) == text


@pytest.mark.parametrize(
    "part",
    [
        Part(data=DATA),
        Part(data=DATA, media_type=TEXT),
        Part(raw=b"x"),
        Part(raw=b"x", media_type="text/csv"),
        Part(raw=b"x", media_type="image/png"),
        Part(url="http://localhost/", media_type=TEXT),
        Part(text="x", media_type="text/html"),
        Part(),
    ],
)
def test_what_the_card_does_not_name(part: Part) -> None:
    """Everything else is refused, however much text comes with it, and addresses always."""
    with pytest.raises(ContentTypeNotSupportedError, match="it takes text/plain"):
        text_of(message(Part(text="a"), part), {TEXT})


def test_types_that_are_no_text() -> None:
    """A file that is no text is refused even if the card names its type."""
    with pytest.raises(ContentTypeNotSupportedError):
        text_of(message(Part(raw=b"x", media_type="image/png")), {"image/png"})


@pytest.mark.parametrize("parts", [[], [Part(text="")], [Part(text=" \n"), Part(text="")]])
def test_no_text(parts: list[Part]) -> None:
    """A message without a word is refused."""
    with pytest.raises(InvalidParamsError, match="no text"):
        text_of(message(*parts), {TEXT})


def test_text_that_is_none() -> None:
    """A file of a text type that is not UTF-8 is refused."""
    with pytest.raises(InvalidParamsError, match="not UTF-8"):
        text_of(message(Part(raw=b"\xff", media_type=TEXT)), {TEXT})


def test_roles() -> None:
    """Only a user's message is one to an agent."""
    check_role(message())
    for role in (Role.ROLE_AGENT, Role.ROLE_UNSPECIFIED, 77):
        with pytest.raises(InvalidParamsError, match="ROLE_USER"):
            check_role(Message(role=role))
