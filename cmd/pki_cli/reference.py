"""The reference of the commands in docs/pki.md, written from the commands themselves.

``python -m pki_cli.reference`` prints it; a test compares it with the page.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from pki_cli.app import cli


def reference() -> str:
    """Return the reference as Markdown: each command, what it does, its arguments and options."""
    lines = [line for name, command in cli.commands.items() for line in _command(name, command)]
    return "\n".join(lines)


def _command(name: str, command: click.Command) -> Iterator[str]:
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    usage = " ".join(["tndrl-pki", name, *(str(one.name).upper() for one in arguments), "[OPTIONS]"])
    yield f"### `{usage}`\n"
    yield f"{' '.join((command.help or '').split())}\n"
    yield "| option | meaning | default |"
    yield "|---|---|---|"
    yield from (_row(one) for one in command.params if isinstance(one, click.Option))
    yield ""


def _row(option: click.Option) -> str:
    value = option.metavar or option.type.name.upper()
    if isinstance(option.type, click.Choice):
        value = "\\|".join(option.type.choices)
    default = option.show_default if isinstance(option.show_default, str) else option.default
    if option.envvar:
        default = f"`{option.envvar}`, else {default}"
    shown = "required" if option.required else str(default) if isinstance(default, str) else ""
    return f"| `{', '.join(option.opts)} {value}` | {option.help} | {shown} |"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
