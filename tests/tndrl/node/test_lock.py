"""The state directory: one node's alone, while it runs."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support import requires
from tndrl.errors import ConfigError
from tndrl.node.lock import LOCK_NAME, StateDirectory

HOLD = """
import sys, time
from pathlib import Path
from tndrl.node.lock import StateDirectory
with StateDirectory(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_for_its_owner(tmp_path: Path) -> None:
    """A missing directory is made with its parents, closed to everybody else, the lock in it too."""
    path = tmp_path / "far" / "down"
    with StateDirectory(path) as directory:
        assert directory.path == path
        assert (mode(path), mode(path / LOCK_NAME)) == (0o700, 0o600)


def test_one_that_is_open_to_others_is_closed(tmp_path: Path) -> None:
    """A directory that others could enter is closed to them."""
    tmp_path.chmod(0o777)
    with StateDirectory(tmp_path):
        assert mode(tmp_path) == 0o700


def test_a_second_node_is_refused(tmp_path: Path) -> None:
    """While one node has the directory another gets the setting and the cure; afterwards it may have it."""
    with StateDirectory(tmp_path):
        with pytest.raises(ConfigError, match="in use by another node; give each node") as raised:
            StateDirectory(tmp_path).__enter__()
        assert raised.value.key == "stateDir"
    with StateDirectory(tmp_path):
        pass


def test_another_process_is_refused_until_it_dies(tmp_path: Path) -> None:
    """The lock is the kernel's: a node that was killed holds it no longer."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match="in use"):
            StateDirectory(tmp_path).__enter__()
        holder.send_signal(signal.SIGKILL)
    with StateDirectory(tmp_path):
        pass


def test_a_child_does_not_inherit_it(tmp_path: Path) -> None:
    """A process that the node starts does not keep the lock when the node is gone."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with StateDirectory(tmp_path):
        child = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()"], **pipes, close_fds=False
        )
    with child:
        assert child.stdout is not None
        assert child.stdout.read(1) == b"\n"  # it runs, so what closes at exec is closed
        with StateDirectory(tmp_path):
            child.communicate(b"\n")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_path_that_cannot_be(tmp_path: Path, place: str) -> None:
    """A path that is no directory, or is below a file, is a mistake of the configuration."""
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigError, match=r"cannot use .*; choose a directory that this user can write"
    ) as raised:
        StateDirectory(tmp_path / place).__enter__()
    assert raised.value.key == "stateDir"


TRY = """
import os, sys
from pathlib import Path
from tndrl.errors import ConfigError
from tndrl.node.lock import StateDirectory
os.setuid(65534)
try:
    StateDirectory(Path(sys.argv[1])).__enter__()
except ConfigError as error:
    print(error)
"""


def test_a_directory_of_somebody_else(tmp_path: Path) -> None:
    """A user who may not write there is told so."""
    requires.root()
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    command = [sys.executable, "-c", TRY, str(tmp_path / "state")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"stateDir: cannot use {tmp_path / 'state'}: Permission denied")
