from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from pki_cli.output import Output, output_option, table


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A result for people is its lines."""
    Output().result({"a": 1}, ["one", "two"])
    assert capsys.readouterr().out == "one\ntwo\n"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A result for programs is one line of JSON."""
    Output(json=True).result({"a": 1}, ["one"])
    assert capsys.readouterr().out == '{"a": 1}\n'


def test_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An error is one line on stderr, whatever its text."""
    Output().error("a\n  b", 1)
    assert capsys.readouterr() == ("", "tndrl-pki: a b\n")


def test_json_error(capsys: pytest.CaptureFixture[str]) -> None:
    """An error for programs is one object on stderr."""
    Output(json=True).error("bad", 2)
    assert json.loads(capsys.readouterr().err) == {"error": {"message": "bad", "code": 2}}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sub"], False),
        (["-o", "json", "sub"], True),
        (["sub", "-o", "json"], True),
        (["-o", "json", "sub", "-o", "text"], False),
    ],
)
def test_option(arguments: list[str], expected: bool) -> None:
    """The option stands before or after the command, and the last one counts."""

    @click.group()
    @output_option
    def group() -> None: ...

    @group.command()
    @output_option
    @click.pass_obj
    def sub(output: Output) -> None:
        click.echo(str(output.json))

    assert CliRunner().invoke(group, arguments, obj=Output()).output == f"{expected}\n"


def test_table() -> None:
    """A table leaves out what has no value and escapes the rest."""
    fields = {
        "first_name": "a\x1b",
        "none": None,
        "empty": [],
        "list": ["x", "y\n"],
        "yes": True,
        "no": False,
    }
    assert table("title", fields) == [
        "title",
        r"  first name  a\x1b",
        r"  list        x, y\n",
        "  yes         yes",
        "  no          no",
    ]


def test_empty_table() -> None:
    """A table without values is its title."""
    assert table("title", {}) == ["title"]
