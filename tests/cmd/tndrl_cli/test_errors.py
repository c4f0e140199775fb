"""From exceptions to messages and exit codes."""

import click
import pytest

from tndrl import errors as tndrl_errors
from tndrl.errors import (
    ConfigError,
    ConnectionClosedError,
    PortClosedError,
    StreamRefusedError,
    WrongIdentityError,
)
from tndrl_cli.errors import (
    CallError,
    ExitCode,
    ShutdownRefusedError,
    TaskError,
    as_object,
    exit_code,
    innermost,
    lines,
    wants_json,
)

CLOSED = ConnectionClosedError("a:1", code=5, code_name="GONE", application=True, remote=True, reason="bye")
WRONG = WrongIdentityError("a:1", 49, "access_denied", "spiffe://tndrl/node/a", "spiffe://tndrl/node/b")


def chained():
    """Return an error with a cause that has a context."""
    try:
        try:
            raise KeyError("deep\x1b")
        except KeyError:
            raise OSError(2, "No such file") from None
    except OSError as error:
        caught = PortClosedError("a:1")
        caught.__cause__ = error
        return caught


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (tndrl_errors.UsageError("x"), 2),
        (click.UsageError("x"), 2),
        (PortClosedError("a:1"), 3),
        (CLOSED, 3),
        (WRONG, 4),
        (tndrl_errors.CertificateRefusedError("a:1", 48, "unknown_ca", ""), 4),
        (CallError("a:1", "PERMISSION_DENIED", ""), 1),
        (ShutdownRefusedError("a:1", "no"), 1),
        (TaskError("a:1", "t", "FAILED", ""), 1),
        (tndrl_errors.NoAgentError("a:1"), 1),
        (tndrl_errors.AgentCallError("a:1", "NOT_FOUND", ""), 1),
        (tndrl_errors.CardIdentityError("a:1", "spiffe://tndrl/node/a", ""), 4),
        (StreamRefusedError("no"), 1),
        (RuntimeError(), 1),
    ],
)
def test_exit_code(error, code):
    """The kind of an exception decides the exit code."""
    assert exit_code(error) == code


def test_every_error_of_the_library_has_a_code():
    """No exception of the library is taken for a bug."""
    for kind in vars(tndrl_errors).values():
        if isinstance(kind, type) and issubclass(kind, tndrl_errors.TndrlError):
            error = kind.__new__(kind)
            assert exit_code(error) in set(ExitCode)


def test_innermost():
    """A group of one is its one exception; a group of several stays one."""
    error, several = KeyError(), ExceptionGroup("", [KeyError(), KeyError()])
    assert innermost(ExceptionGroup("", [ExceptionGroup("", [error])])) is error
    assert innermost(several) is several
    assert innermost(error) is error


def test_other_mistakes_have_lines():
    """All mistakes of a configuration are told, a line each."""
    error = ConfigError("is odd", key="a")
    error.add_note("b: is odder")
    assert lines(error, verbose=False) == ["a: is odd", "b: is odder"]


def test_causes():
    """Verbose tells the causes, and escapes them."""
    assert len(lines(chained(), verbose=False)) == 1
    assert lines(chained(), verbose=True)[1:] == ["because of FileNotFoundError: [Errno 2] No such file"]


def test_causes_in_a_circle():
    """Causes that lead back to the error end there."""
    error = PortClosedError("a:1")
    error.__context__ = cause = KeyError()
    cause.__context__ = error
    assert lines(error, verbose=True)[1:] == ["because of KeyError: "]


def test_bug():
    """An unexpected exception is a bug, with its place if verbose."""
    try:
        raise KeyError("x")
    except KeyError as error:
        (line,) = lines(error, verbose=True)
    assert line.startswith("a bug in tndrl: KeyError: 'x' at test_errors.py:")
    assert lines(KeyError("x"), verbose=True) == ["a bug in tndrl: KeyError: 'x' at an unknown place"]


def test_system_error():
    """An error of the system is told in its words, with the file."""
    assert lines(FileNotFoundError(2, "No such file", "x.log"), verbose=False) == [
        "No such file: x.log (error 2 of the system)"
    ]
    assert lines(OSError(98, "Address in use"), verbose=False) == ["Address in use (error 98 of the system)"]


def test_call_error():
    """A failed call names the peer, the status, the peer's words escaped, and the cure."""
    error = CallError("a:1", "PERMISSION_DENIED", "no\n")
    assert (
        str(error)
        == "a:1 answered PERMISSION_DENIED: no\\n; call as an identity that may, or have yours added there"
    )
    assert str(CallError("a:1", "INTERNAL", "")) == "a:1 answered INTERNAL"


def test_shutdown_refused():
    """A refused shutdown names the peer's reason and the way to force it."""
    assert str(ShutdownRefusedError("a:1", "busy")) == "a:1 does not shut down: busy; --force ends it at once"


def test_object():
    """A program gets the class, the message, the exit code and the facts."""
    assert as_object(WRONG, verbose=False) == {
        "error": {
            "type": "WrongIdentityError",
            "message": str(WRONG),
            "exit_code": 4,
            "address": "a:1",
            "alert": 49,
            "alert_name": "access_denied",
            "reason": "expected spiffe://tndrl/node/a, the certificate says spiffe://tndrl/node/b",
            "expected": "spiffe://tndrl/node/a",
            "actual": "spiffe://tndrl/node/b",
        }
    }


def test_object_of_foreign_errors():
    """What other libraries keep in their exceptions is no fact of ours; further lines are."""
    usage = as_object(click.UsageError("Bad thing."), verbose=False)
    assert usage == {
        "error": {"type": "UsageError", "message": "bad thing; see 'tndrl --help'", "exit_code": 2}
    }
    assert as_object(chained(), verbose=True)["error"]["more"] == [
        "because of FileNotFoundError: [Errno 2] No such file"
    ]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["-o", "json", "ping"], True),
        (["ping", "--output", "json"], True),
        (["-ojson"], True),
        (["--output=json"], True),
        (["-o", "text", "json"], False),
        ([], False),
    ],
)
def test_wants_json(arguments, answer):
    """The wish for JSON is read without parsing the rest."""
    assert wants_json(arguments) is answer
