from __future__ import annotations

import pytest

from pki.alerts import Alert


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("bad_certificate", 42),
        ("unknown_ca", 48),
        ("certificate_required", 116),
        ("no_application_protocol", 120),
    ],
)
def test_numbers(name: str, number: int) -> None:
    """An alert has the number and the name that RFC 8446 gives it."""
    assert Alert(number).name == name
