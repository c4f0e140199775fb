"""Options before and after the command."""

import logging

import click
import pytest

from tndrl.config import SETTINGS
from tndrl.errors import ConfigError
from tndrl_cli.options import (
    CLIENT_SETTINGS,
    SERVE_SETTINGS,
    common_options,
    invocation,
    remember,
    setting_options,
)

pytestmark = pytest.mark.usefixtures("quiet_logging")


@click.group()
@common_options
@click.pass_context
def group(context, /, **given):
    remember(context, given)


@group.command()
@common_options
@setting_options(*SERVE_SETTINGS)
@click.pass_context
def quiet(context, /, **given):
    return invocation(context, given, default_log="error")


@group.command()
@common_options
@click.pass_context
def loud(context, /, **given):
    return invocation(context, given)


def run(*arguments):
    """Return what a command works with."""
    return group.main(arguments, standalone_mode=False)


@pytest.fixture
def file(tmp_path):
    """A configuration file that asks for warnings only."""
    path = tmp_path / "node.yaml"
    path.write_text("logLevel: warn\npki: {init: true}\n")
    return str(path)


def test_config_before_or_after(file):
    """The file may be named before the command or after it; after it wins."""
    assert run("-c", file, "quiet").config.log_level == "warn"
    assert run("quiet", "-c", file).config.log_level == "warn"
    assert run("-c", "/missing", "quiet", "--config", file).config.log_level == "warn"


def test_output_before_or_after():
    """So may the output."""
    assert run("-o", "json", "quiet").output.as_json
    assert run("quiet", "-o", "json").output.as_json
    assert not run("-o", "json", "quiet", "-o", "text").output.as_json
    assert not run("quiet").output.as_json


@pytest.mark.parametrize(
    "arguments",
    [("--log-level", "debug", "quiet"), ("quiet", "--log-level", "debug"), ("-v", "quiet"), ("quiet", "-v")],
)
def test_log_level_before_or_after(arguments):
    """So may the log level; ``-v`` is debug."""
    assert run(*arguments).config.log_level == "debug"
    assert logging.getLogger("tndrl").level == logging.DEBUG


def test_log_level_beats_verbose():
    """A level that is named counts more than ``-v``."""
    assert run("-v", "quiet", "--log-level", "error").config.log_level == "error"


def test_level_of_quiet_commands(file):
    """A command with a level of its own logs at it unless a flag says otherwise; the others as configured."""
    run("-c", file, "quiet")
    assert logging.getLogger("tndrl").level == logging.ERROR
    run("-c", file, "loud")
    assert logging.getLogger("tndrl").level == logging.WARNING


def test_settings(file):
    """Flags of settings reach the configuration, a false one too."""
    flags = [
        "--server-addr",
        "a:1",
        "--no-pki-init",
        "--transport-keepalive",
        "7",
        "--agent-input-modes",
        "a,b",
    ]
    config = run("quiet", "-c", file, *flags, "--agent-input-modes", "c").config
    assert (config.server.addr, config.pki.init, config.transport.keepalive) == ("a:1", False, 7.0)
    assert config.agent.input_modes == ("a", "b", "c")


def test_absent_flags(file):
    """Flags that are not given leave the file's values."""
    assert run("quiet", "-c", file).config.pki.init is True


def test_bad_flag():
    """A flag with a wrong value is named."""
    with pytest.raises(
        ConfigError, match=r"--transport-keepalive: transport\.keepalive: expected a number of seconds"
    ):
        run("quiet", "--transport-keepalive", "x")


def test_warnings_of_loading(tmp_path, capsys):
    """What loading warns about is shown, also by commands that log errors only."""
    path = tmp_path / "node.yaml"
    path.write_text("peers: [{name: a, addr: 'a:1'}, {name: a, addr: 'b:1'}]")
    run("-c", str(path), "quiet")
    assert "a second peer called 'a' is ignored" in capsys.readouterr().err


def test_every_flag_is_offered():
    """``serve`` has the flag of every setting; those who call have what concerns them."""
    flags = {key for key, setting in SETTINGS.items() if setting.flag}
    assert {*SERVE_SETTINGS, "logLevel"} == flags
    assert (
        {"pki.dir", "pki.caCert", "pki.cert", "pki.key", "transport.connectTimeout"}
        <= set(CLIENT_SETTINGS)
        < flags
    )
