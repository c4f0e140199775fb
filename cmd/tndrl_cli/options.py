"""The options of the commands: four that every command takes, before it or after, and those of the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import msgspec

from tndrl.config import SETTINGS, Config, Setting, load_config
from tndrl_cli.logs import log_to_stderr
from tndrl_cli.output import Output

Command = TypeVar("Command", bound=Callable[..., Any])

LOG_LEVEL = "logLevel"
COMMON = ("config", LOG_LEVEL, "verbose", "output")
_OF_NODES = ("pki.caKey", "pki.init", "transport.typeTimeout")
CLIENT_SETTINGS = tuple(
    key for key in SETTINGS if key.startswith(("pki.", "transport.")) and key not in _OF_NODES
)
SERVE_SETTINGS = tuple(key for key, setting in SETTINGS.items() if setting.flag and key != LOG_LEVEL)


class Invocation(msgspec.Struct, frozen=True):
    """What a command works with."""

    config: Config
    output: Output


def common_options(command: Command) -> Command:
    """Add the four options that every command takes."""
    level = SETTINGS[LOG_LEVEL]
    for option in (
        click.option(
            "-o", "--output", type=click.Choice(["text", "json"]), help="How results are written. [text]"
        ),
        click.option(
            "-v", "--verbose", is_flag=True, help="Log everything, and name the causes of an error."
        ),
        click.option(level.flag or "", LOG_LEVEL, metavar="LEVEL", help=_help(level)),
        click.option("-c", "--config", metavar="FILE", help="The configuration file. [TNDRL_CONFIG]"),
    ):
        command = option(command)
    return command


def setting_options(*keys: str) -> Callable[[Command], Command]:
    """Add the flags of the settings ``keys``, as the schema has them."""

    def add(command: Command) -> Command:
        for key in reversed(keys):
            command = _option(SETTINGS[key])(command)
        return command

    return add


def remember(context: click.Context, given: Mapping[str, Any]) -> None:
    """Keep the options that stood before the command."""
    context.obj = {name: given[name] for name in COMMON}


def invocation(
    context: click.Context, given: Mapping[str, Any], *, default_log: str | None = None
) -> Invocation:
    """Load the configuration and set up logging, by the options before the command and, first, those after it.

    ``default_log`` is the level where neither a flag says one nor ``-v`` stands; None means the configuration's.
    Raises ConfigError.
    """
    common = {name: given[name] or context.obj[name] for name in COMMON}
    level = common[LOG_LEVEL] or ("debug" if common["verbose"] else None)
    log_to_stderr("warn")  # for the warnings of the loading itself
    flags = {name.replace("__", "."): _value(value) for name, value in given.items() if name not in COMMON}
    config = load_config(common["config"], flags={**flags, LOG_LEVEL: level})
    log_to_stderr(config.log_level if level or default_log is None else default_log)
    return Invocation(config, Output(as_json=common["output"] == "json"))


def _option(setting: Setting) -> Callable[[Command], Command]:
    flag = setting.flag or ""
    name = setting.key.replace(".", "__")
    if setting.type == "true or false":
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=_help(setting))
    if setting.type.startswith("list of"):
        return click.option(flag, name, multiple=True, metavar="A,B", help=_help(setting))
    return click.option(flag, name, metavar=setting.type.upper().replace(" ", "-"), help=_help(setting))


def _help(setting: Setting) -> str:
    limit = f" ({setting.limit})" if setting.limit else ""
    default = f" [{setting.default_text}]" if setting.default_text else ""
    return f"{setting.description}{limit}{default}".replace("`", "")


def _value(given: object) -> object:
    """Return a flag's value; one that may stand several times is one list with commas, or not given at all."""
    return (",".join(given) or None) if isinstance(given, tuple) else given
