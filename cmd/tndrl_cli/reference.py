"""Writes the reference part of docs/cli.md from the commands: ``python -m tndrl_cli.reference``."""

from __future__ import annotations

import sys

import click

from tndrl_cli.app import COMMANDS, tndrl

WIDTH = 110
"""Columns of the help texts."""


def reference() -> str:
    """Return the help of every command as Markdown."""
    parent = tndrl.make_context(
        "tndrl", [], resilient_parsing=True, max_content_width=WIDTH, terminal_width=WIDTH
    )
    commands = {name: tndrl.get_command(parent, name) for name in COMMANDS}
    contexts = {
        f"tndrl {name}": command.make_context(name, [], parent=parent, resilient_parsing=True)
        for name, command in commands.items()
        if command is not None
    }
    parts = [_section(title, context) for title, context in {"tndrl": parent, **contexts}.items()]
    return "\n\n".join(parts) + "\n"


def _section(title: str, context: click.Context) -> str:
    return f"### `{title}`\n\n```\n{context.get_help()}\n```"


if __name__ == "__main__":
    sys.stdout.write(reference())
