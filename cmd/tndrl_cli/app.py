"""The command ``tndrl``: finds the subcommand, and turns whatever goes wrong into a message and an exit code."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

import click

from tndrl._version import __version__
from tndrl_cli.errors import ExitCode, as_object, exit_code, innermost, lines, wants_json
from tndrl_cli.options import common_options, remember
from tndrl_cli.output import printable

COMMANDS = ("serve", "ping", "status", "bench", "discover", "prompt", "task", "shutdown")


class _Commands(click.Group):
    """Finds each subcommand in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of a node's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the subcommand, or return None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"tndrl_cli.{cmd_name}"), cmd_name)
        return command


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}
)
@common_options
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def tndrl(context: click.Context, /, **given: Any) -> None:
    """Run a node that reaches its peers over mutually authenticated QUIC, and call others.

    Exit codes: 0 done; 1 a call was refused or failed; 2 usage or configuration; 3 unreachable; 4 a certificate or an
    identity was refused by either side.
    """
    remember(context, given)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line ``arguments``, the process's own unless given, and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return int(tndrl.main(arguments, prog_name="tndrl", standalone_mode=False) or 0)
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        return ExitCode.USAGE
    except BaseExceptionGroup as group:
        return _report(innermost(group), arguments)
    except Exception as error:
        return _report(error, arguments)


def _report(error: BaseException, arguments: list[str]) -> int:
    """Write what went wrong to standard error and return the exit code."""
    verbose = bool({"-v", "--verbose"} & set(arguments))
    if wants_json(arguments):
        sys.stderr.write(f"{json.dumps(as_object(error, verbose=verbose))}\n")
    else:
        sys.stderr.write("".join(f"tndrl: {printable(line)}\n" for line in lines(error, verbose=verbose)))
    return exit_code(error)
