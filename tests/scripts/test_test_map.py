"""Modules and test files belong together by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import test_map


def write(root: Path, *names: str, text: str = "") -> None:
    """Create the files ``names`` below ``root``."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_a_module_without_its_test_file_is_named(tmp_path: Path) -> None:
    """The line says which module and which file is expected."""
    write(tmp_path, "pki/svid.py")
    assert test_map.problems(tmp_path) == ["pki/svid.py has no test file; expected tests/pki/test_svid.py"]


def test_a_test_file_without_a_module_is_named(tmp_path: Path) -> None:
    """A test file that mirrors nothing and is no scenario does not belong."""
    write(tmp_path, "tests/pki/test_svid.py", "tests/support/test_leaks.py")
    (line,) = test_map.problems(tmp_path)
    assert line.startswith("tests/pki/test_svid.py mirrors no module")


@pytest.mark.parametrize(
    ("module", "test"),
    [
        ("cmd/pki_cli/app.py", "tests/cmd/pki_cli/test_app.py"),
        ("tndrl/transport/_aioquic/tls.py", "tests/tndrl/transport/_aioquic/test_tls.py"),
        ("tndrl/transport/_bridge.py", "tests/tndrl/transport/test_bridge.py"),
    ],
)
def test_names_mirror_each_other(tmp_path: Path, module: str, test: str) -> None:
    """A module and the test file of its name are a pair, a leading underscore apart."""
    write(tmp_path, module, test)
    assert test_map.problems(tmp_path) == []


def test_an_init_without_code_needs_no_test(tmp_path: Path) -> None:
    """Imports and names in an ``__init__.py`` are tested where they come from."""
    write(tmp_path, "pki/__init__.py", text='"""Words."""\nfrom pki import svid\n__all__ = ["svid"]\n')
    assert test_map.problems(tmp_path) == []


def test_an_init_with_code_needs_one(tmp_path: Path) -> None:
    """A function in an ``__init__.py`` is code like any other."""
    write(tmp_path, "pki/__init__.py", text="def make(): ...\n")
    assert "expected tests/pki/test_init.py" in test_map.problems(tmp_path)[0]
