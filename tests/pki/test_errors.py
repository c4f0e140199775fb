from __future__ import annotations

from pathlib import Path

import pytest

from pki.alerts import Alert
from pki.errors import FileError, RefusedError, SpiffeIdError, SvidError, Violation, shown


def test_shown_escapes() -> None:
    """Control characters and everything outside ASCII are escaped."""
    assert shown("a\x1b[31m\n\u00e4") == r"a\x1b[31m\n\xe4"


def test_shown_shortens() -> None:
    """Text over the limit ends in dots at the limit."""
    assert shown("x" * 300, 10) == "xxxxxxx..."


def test_shown_keeps_short_text() -> None:
    """Text of exactly the limit stays whole."""
    assert shown("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (SpiffeIdError("node name", "a\nb", "no"), r"'a\nb' is not a valid node name: no"),
        (FileError(Path("/x"), "is bad", "mend it", key="pki.cert"), "pki.cert: /x: is bad; mend it"),
        (FileError(Path("/x\n"), "is bad", "mend it"), r"/x\n: is bad; mend it"),
        (RefusedError("too long", "ask for less"), "too long; ask for less"),
        (
            SvidError(
                [Violation("r", Alert.unknown_ca, "first"), Violation("s", Alert.bad_certificate, "b")]
            ),
            "first",
        ),
    ],
)
def test_sentences(error: Exception, sentence: str) -> None:
    """Each error writes its sentence from its facts, escaped."""
    assert str(error) == sentence


def test_svid_error_takes_the_first_alert() -> None:
    """The first violation chooses the alert."""
    error = SvidError([Violation("r", Alert.unknown_ca, "a"), Violation("s", Alert.bad_certificate, "b")])
    assert error.alert is Alert.unknown_ca
    assert len(error.violations) == 2
