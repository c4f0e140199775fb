"""What a test that lacks something does."""

from __future__ import annotations

import pytest

from support import requires


def test_a_missing_tool_skips_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CI=1 the test skips, and the line says what was not checked and the cure."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="not checked: it needs the command nonesuch; install it"):
        requires.tool("nonesuch", "install it")


def test_a_missing_tool_fails_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """With CI=1 the test fails: nothing goes unchecked there."""
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="it needs the command nonesuch; install it"):
        requires.tool("nonesuch", "install it")


def test_a_present_tool_lets_the_test_run() -> None:
    """A command that is there is no reason to skip."""
    requires.tool("sh", "")
