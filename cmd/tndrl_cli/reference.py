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
    parts = [_section("tndrl", parent)]
    for name in COMMANDS:
        command = tndrl.get_command(parent, name)
        if command is not None:
            parts.append(
                _section(
                    f"tndrl {name}", command.make_context(name, [], parent=parent, resilient_parsing=True)
                )
            )
    return "\n\n".join(parts) + "\n"


def _section(title: str, context: click.Context) -> str:
    return f"### `{title}`\n\n```\n{context.get_help()}\n```"


if __name__ == "__main__":
    sys.stdout.write(reference())
