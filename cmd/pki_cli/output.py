"""What ``tndrl-pki`` prints: for people or as JSON, chosen by ``-o`` before or after the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from pki.errors import shown

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass
class Output:
    """Where results and errors go; one per run."""

    json: bool = False

    def result(self, value: object, lines: Iterable[str]) -> None:
        """Print a result on stdout: ``value`` as one line of JSON, or the lines."""
        if self.json:
            click.echo(json.dumps(value))
        else:
            click.echo("\n".join(lines))

    def error(self, message: str, code: int) -> None:
        """Print an error on stderr as one line."""
        if self.json:
            click.echo(json.dumps({"error": {"message": message, "code": code}}), err=True)
        else:
            click.echo(f"tndrl-pki: {' '.join(message.split())}", err=True)


def output_option(command: _Command) -> _Command:
    """Add ``-o text|json`` to a command or a group; the last one given counts."""

    def choose(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            context.ensure_object(Output).json = value == "json"

    option = click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json"]),
        callback=choose,
        expose_value=False,
        is_eager=True,
        help="How to print the result (text unless told).",
    )
    return option(command)


def table(title: str, fields: Mapping[str, object]) -> list[str]:
    """Return lines for people: a title and the fields that have a value, escaped."""
    rows = {name: _value(value) for name, value in fields.items() if value not in (None, [], "")}
    width = max(map(len, rows), default=0)
    return [shown(title), *(f"  {name.replace('_', ' '):<{width}}  {text}" for name, text in rows.items())]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(shown(str(item)) for item in value)
    return shown(str(value))
