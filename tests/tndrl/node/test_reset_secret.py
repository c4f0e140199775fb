"""The secret behind stateless resets: made once, closed to others, the same after a crash."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tndrl.errors import ConfigError
from tndrl.node.reset_secret import NAME, reset_secret
from tndrl.transport.stateless_reset import KEY_SIZE


def test_it_is_made_once(tmp_path: Path) -> None:
    """The first start makes it, random and for its owner only; later ones find it, and nothing else is left."""
    secret = reset_secret(tmp_path)
    assert len(secret) == KEY_SIZE
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert reset_secret(tmp_path) == secret
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_each_directory_has_its_own(tmp_path: Path) -> None:
    """Two nodes have different secrets."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert reset_secret(tmp_path / "a") != reset_secret(tmp_path / "b")


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [(b"short", 0o600, "remove it, and the node makes another"), (bytes(KEY_SIZE), 0o644, "chmod 600")],
    ids=["cut short", "open to others"],
)
def test_a_bad_one_is_named(tmp_path: Path, content: bytes, mode: int, problem: str) -> None:
    """A file that is no secret, or none any more, ends the start with the file and the cure."""
    (tmp_path / NAME).write_bytes(content)
    (tmp_path / NAME).chmod(mode)
    with pytest.raises(ConfigError, match=problem) as raised:
        reset_secret(tmp_path)
    assert raised.value.key == "stateDir"
    assert raised.value.source == str(tmp_path / NAME)


def test_something_else_in_its_place(tmp_path: Path) -> None:
    """What stands where the file should be is named."""
    (tmp_path / NAME).mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        reset_secret(tmp_path)
