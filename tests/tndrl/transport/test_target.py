"""Whom to call, in words."""

from __future__ import annotations

import pytest

from tndrl.transport.target import Target


@pytest.mark.parametrize(("host", "text"), [("b.example", "b.example:1"), ("::1", "[::1]:1")])
def test_a_target_in_words(host: str, text: str) -> None:
    """A target reads as host:port, IPv6 in brackets."""
    assert str(Target(host, 1)) == text
