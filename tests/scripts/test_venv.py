"""What a machine without a usable Python is told, and when nothing needs to be installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

OLD = "case $2 in *print*) echo 3.9 ;; *) exit 1 ;; esac"
WITHOUT_VENV = f'case $2 in *ensurepip*) exit 1 ;; *) exec {sys.executable} "$@" ;; esac'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tree with the script and a pyproject.toml, whose .venv does not exist yet."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "venv.sh", tmp_path / "scripts")
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def script(path: Path, body: str) -> str:
    """Write an executable shell script and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def venv(tree: Path, python: str = "", wanted: str = "dev") -> subprocess.CompletedProcess[str]:
    """Run the script in ``tree``."""
    command = ["sh", str(tree / "scripts/venv.sh"), wanted]
    environment = {**os.environ, "PYTHON": python}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_python_that_is_too_old_is_named(tree: Path) -> None:
    """The message has the version found, the one needed and a line to install it."""
    run = venv(tree, script(tree / "old/python3", OLD))
    assert run.returncode == 1
    assert "needs Python 3.11 or newer" in run.stderr
    assert "is 3.9" in run.stderr
    assert "apt-get install" in run.stderr


def test_a_python_that_is_missing_is_named(tree: Path) -> None:
    """A name that leads nowhere is told apart from an old version."""
    assert "/nonesuch/python3 is not there or does not run" in venv(tree, "/nonesuch/python3").stderr


def test_a_missing_venv_module_is_answered_with_the_line_that_installs_it(tree: Path) -> None:
    """Debian ships Python without it; the package carries the version's name."""
    run = venv(tree, script(tree / "bare/python3", WITHOUT_VENV))
    assert run.returncode == 1
    assert f"apt-get install -y python3.{sys.version_info.minor}-venv" in run.stderr


def installed(tree: Path, wanted: str) -> None:
    """Install into ``tree`` with a .venv whose pip only notes that it was called."""
    script(tree / ".venv/bin/python", f'case $* in *pip*) echo "$*" >>{tree}/pip.log ;; esac')
    (tree / ".venv/pyvenv.cfg").write_text(f"command = python -m venv {tree}/.venv\n")
    assert venv(tree, wanted=wanted).returncode == 0


def test_nothing_is_installed_twice(tree: Path) -> None:
    """The same pyproject.toml means the same environment; a development one serves to run things too."""
    installed(tree, "dev")
    assert venv(tree, wanted="dev").stdout == venv(tree, wanted="runtime").stdout == ""
    assert (tree / "pip.log").read_text().count("--editable .[dev]") == 1


@pytest.mark.parametrize("change", ["pyproject", "extra"])
def test_a_change_installs_again(tree: Path, change: str) -> None:
    """Another pyproject.toml, or a development environment where only a runtime one is, installs."""
    installed(tree, "runtime")
    if change == "pyproject":
        (tree / "pyproject.toml").write_text("changed")
    venv(tree, wanted="dev" if change == "extra" else "runtime")
    assert len((tree / "pip.log").read_text().splitlines()) == 2
