"""The command as a whole."""

import json
import os
import subprocess
import sys

import click
import pytest

from tndrl._version import __version__
from tndrl.errors import PortClosedError
from tndrl_cli import app
from tndrl_cli.app import COMMANDS, main


def failing(error):
    """Return a command line whose only command raises ``error``."""

    @click.command()
    def command():
        raise error

    return command


def test_version(tndrl):
    """``--version`` prints the version."""
    done = tndrl("--version")
    assert (done.returncode, done.stdout) == (0, f"tndrl {__version__}\n")


def test_help(tndrl):
    """``--help`` names every command and the exit codes."""
    done = tndrl("--help")
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert "Exit codes: 0 done; 1" in done.stdout


def test_nothing_to_do(tndrl):
    """Without a command there is the help, and exit code 2."""
    done = tndrl()
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: tndrl [OPTIONS] COMMAND")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pong"], "no such command 'pong'; see 'tndrl --help'"),
        (["ping"], "missing argument 'PEER'; see 'tndrl ping --help'"),
        (
            ["ping", "a:1", "-n", "0"],
            "invalid value for '-n': 0 is not in the range x>=1; see 'tndrl ping --help'",
        ),
        (["ping", "a:1", "--frce"], "no such option '--frce'; see 'tndrl ping --help'"),
        (
            ["-o", "xml", "ping"],
            "invalid value for '-o' / '--output': 'xml' is not one of 'text', 'json'; see",
        ),
    ],
)
def test_usage(capsys, arguments, message):
    """A wrong command line is one line on standard error, and exit code 2."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"tndrl: {message}")
    assert err.endswith(" --help'\n")


def test_usage_as_json(capsys):
    """With ``-o json`` an error is an object on standard error."""
    assert main(["-o", "json", "pong"]) == 2
    out, err = capsys.readouterr()
    message = "no such command 'pong'; see 'tndrl --help'"
    assert (out, json.loads(err)) == (
        "",
        {"error": {"type": "NoSuchCommand", "message": message, "exit_code": 2}},
    )


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (PortClosedError("a:1"), 3, "tndrl: nobody listens on a:1 (UDP port closed);"),
        (
            ExceptionGroup("", [ExceptionGroup("", [PortClosedError("a:1")])]),
            3,
            "tndrl: nobody listens on a:1",
        ),
        (ExceptionGroup("two", [OSError(), ValueError()]), 1, "tndrl: a bug in tndrl: ExceptionGroup: two"),
        (KeyError("x"), 1, "tndrl: a bug in tndrl: KeyError: 'x'; run it again with -v for the place"),
    ],
)
def test_failure(capsys, monkeypatch, error, code, message):
    """Whatever goes wrong is one line and an exit code, never a traceback."""
    monkeypatch.setattr(app, "tndrl", failing(error))
    assert main([]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_unprintable(capsys, monkeypatch):
    """Control characters in a message are escaped."""
    monkeypatch.setattr(app, "tndrl", failing(PortClosedError("a\n\x1b[31m")))
    main([])
    assert capsys.readouterr().err.startswith("tndrl: nobody listens on a\\n\\x1b[31m (UDP")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupted(capsys, monkeypatch, error):
    """Ctrl-C ends with exit code 130 and no message."""
    monkeypatch.setattr(app, "tndrl", failing(error))
    assert main([]) == 130
    assert capsys.readouterr().err in ("", "\n")


def test_reader_is_gone(command, pki, node):
    """Writing to a pipe that nobody reads ends quietly with exit code 1."""
    read, write = os.pipe()
    os.close(read)
    arguments = [command, "ping", node.address, "--pki-dir", str(pki / "operator"), "-n", "3"]
    done = subprocess.run(arguments, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_modules_are_lazy():
    """The help needs none of the heavy libraries."""
    code = "import sys; from tndrl_cli.app import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"grpc", "aioquic", "cryptography", "yaml"} & set(done.stdout.split())


@pytest.mark.serial
def test_help_is_quick(seconds):
    """``tndrl --help`` takes less than 0.25 s on a warm disk."""
    assert seconds("--help") < 0.25
