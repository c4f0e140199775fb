"""Error codes in words."""

from __future__ import annotations

import pytest

from pki.alerts import Alert
from tndrl.transport.codes import ErrorCode, TransportCode, alert_name, alert_of, code_name


def test_our_codes_are_those_of_the_documentation() -> None:
    """The numbers on the wire never change."""
    assert {code.name: code.value for code in ErrorCode} == {
        "NO_ERROR": 0,
        "INTERNAL": 1,
        "UNKNOWN_STREAM_TYPE": 2,
        "STREAM_TYPE_MISSING": 3,
        "STREAM_TYPE_TIMEOUT": 4,
        "CANCELLED": 5,
        "SHUTDOWN": 6,
        "PREFACE_INVALID": 7,
        "FRAME_INVALID": 8,
        "REQUEST_TIMEOUT": 9,
        "EXCESSIVE_LOAD": 10,
    }


def test_transport_codes_are_those_of_the_rfc() -> None:
    """RFC 9000 section 20.1 numbers them without a gap, RFC 9368 adds one."""
    assert [int(code) for code in TransportCode] == list(range(0x12))


@pytest.mark.parametrize(
    ("code", "alert"), [(0xFF, None), (0x100, 0), (0x130, 48), (0x1FF, 255), (0x200, None)]
)
def test_alerts_are_a_range_of_codes(code: int, alert: int | None) -> None:
    """A code from 0x100 to 0x1ff is a TLS alert (RFC 9001 section 4.8), no other."""
    assert alert_of(code) == alert


def test_alerts_in_words() -> None:
    """An alert has the name that RFC 8446 gives it, or its number."""
    assert (alert_name(Alert.unknown_ca), alert_name(200)) == ("unknown_ca", "alert 200")


@pytest.mark.parametrize(
    ("code", "application", "name"),
    [
        (4, True, "STREAM_TYPE_TIMEOUT"),
        (4, False, "STREAM_LIMIT_ERROR"),
        (0x130, False, "unknown_ca"),
        (0x130, True, "application code 0x130"),
        (0x1C8, False, "alert 200"),
        (0x4242, False, "code 0x4242"),
    ],
)
def test_codes_in_words(code: int, application: bool, name: str) -> None:
    """The same number means one thing from an application and another from the transport."""
    assert code_name(code, application=application) == name
