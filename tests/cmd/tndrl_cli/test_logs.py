"""Log messages on standard error."""

import logging
import re

import pytest

from tndrl_cli.logs import log_to_stderr

pytestmark = pytest.mark.usefixtures("quiet_logging")


def test_line(capsys):
    """A message is one line with its time in UTC, level and area; control characters are escaped."""
    log_to_stderr("info")
    logging.getLogger("tndrl.node").info("from %s", "a\n\x1b[31m")
    line = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO tndrl\.node from a\\n\\x1b\[31m\n", line
    )


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("debug", "DEBUG", "DEBUG"),
        ("info", "INFO", "WARNING"),
        ("warn", "WARNING", "WARNING"),
        ("error", "ERROR", "ERROR"),
    ],
)
def test_levels(level, ours, theirs):
    """A level is that of our messages; libraries say less, unless it is debug."""
    log_to_stderr(level)
    effective = {
        name: logging.getLevelName(logging.getLogger(name).getEffectiveLevel())
        for name in ("tndrl.x", "pki.x", "quic")
    }
    assert effective == {"tndrl.x": ours, "pki.x": ours, "quic": theirs}


def test_once(capsys):
    """Setting it up again replaces what was there."""
    log_to_stderr("warn")
    log_to_stderr("warn")
    logging.getLogger("tndrl").warning("once")
    assert capsys.readouterr().err.count("once") == 1
