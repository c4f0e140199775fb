"""Writes the reference part of docs/cli.md from the commands: ``python -m tndrl_cli.reference``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from tndrl_cli.app import tndrl

WIDTH = 110
"""Columns of the help texts."""


def reference() -> str:
    """Return the help of every command as Markdown."""
    parent = tndrl.make_context(
        "tndrl", [], resilient_parsing=True, max_content_width=WIDTH, terminal_width=WIDTH
    )
    return "\n\n".join(_sections("tndrl", parent)) + "\n"


def _sections(title: str, context: click.Context) -> Iterator[str]:
    """Yield a section for a command and for each below it."""
    yield _section(title, context)
    if isinstance(group := context.command, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            below = command.make_context(name, [], parent=context, resilient_parsing=True)
            yield from _sections(f"{title} {name}", below)


def _section(title: str, context: click.Context) -> str:
    return f"### `{title}`\n\n```\n{context.get_help()}\n```"


if __name__ == "__main__":
    sys.stdout.write(reference())
