"""Results as text and as JSON."""

import json

import pytest

from tndrl_cli.output import Output, printable


def test_text(capsys):
    """Without JSON a result is its text."""
    Output(as_json=False).write({"a": 1}, "one")
    assert capsys.readouterr().out == "one\n"


def test_json(capsys):
    """With JSON each result is an object on one line, in ASCII."""
    Output(as_json=True).write({"a": "é\n"}, "one")
    out = capsys.readouterr().out
    assert (out.count("\n"), out.isascii(), json.loads(out)) == (1, True, {"a": "é\n"})


@pytest.mark.parametrize(
    ("text", "shown"), [("é x", "é x"), ("a\r\nb\x1b[0m", r"a\r\nb\x1b[0m"), ("\u202e", r"\u202e")]
)
def test_printable(text, shown):
    """What would move the cursor, colour or turn the text is escaped."""
    assert printable(text) == shown
