"""The runner of mutants, tried on a toy tree, and the project's own patches as far as they can be checked fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import mutants

TEST = "tests/test_toy.py::test_refuses"
GUARD = '    if number < 0:\n        raise ValueError("negative")\n'
WITHOUT_GUARD = """\
--- a/toy/__init__.py
+++ b/toy/__init__.py
@@ -1,4 +1,2 @@
 def root(number):
-    if number < 0:
-        raise ValueError("negative")
     return number ** 0.5
"""
OTHER_CHANGE = """\
--- a/toy/__init__.py
+++ b/toy/__init__.py
@@ -2,3 +2,3 @@
     if number < 0:
         raise ValueError("negative")
-    return number ** 0.5
+    return pow(number, 0.5)
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Return a tree with a function, the test of its guard, and a patch that takes the guard away."""
    root = tmp_path / "tree"
    for folder in ("toy", "tests/mutants", "docs"):
        (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\n')
    (root / "toy/__init__.py").write_text(f"def root(number):\n{GUARD}    return number ** 0.5\n")
    (root / "tests/test_toy.py").write_text(
        "import pytest, toy\n\n@pytest.mark.parametrize('number', [-1, -2])\ndef test_refuses(number):\n"
        "    with pytest.raises(ValueError):\n        toy.root(number)\n\ndef test_counts():\n    toy.root(4)\n"
    )
    write(root, WITHOUT_GUARD)
    return root


def write(root: Path, diff: str, tests: str = TEST) -> None:
    """Write the toy's one patch."""
    header = f"Defence: negative numbers\nare refused\nCase: TOY-01\nTests: {tests}\n\n"
    (root / "tests/mutants/guard.patch").write_text(header + diff)


def output(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str, expected: int) -> str:
    """Run the runner on the toy; return what it printed."""
    assert mutants.main(list(arguments), root) == expected
    printed = capsys.readouterr()
    return printed.out + printed.err


def test_a_defence_that_a_test_misses_is_red(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The test fails without the guard: the table says so, and the page lists it."""
    assert output(toy, capsys, expected=0).split() == ["TOY-01", "guard", "red"]
    row = f"| TOY-01 | negative numbers are refused | `{TEST}` | `tests/mutants/guard.patch` |\n"
    assert (toy / mutants.PAGE).read_text().endswith(row)


def test_the_tree_itself_is_not_changed(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Patches are applied to copies."""
    output(toy, capsys, expected=0)
    assert GUARD in (toy / "toy/__init__.py").read_text()


def test_a_test_that_misses_nothing_is_an_error(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mutant that survives is named with its test, and no page is written."""
    write(toy, OTHER_CHANGE)
    assert f"GREEN {TEST}" in output(toy, capsys, expected=1)
    assert not (toy / mutants.PAGE).exists()


def test_each_test_named_must_go_red(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One red test does not cover for another that stays green."""
    write(toy, WITHOUT_GUARD, f"{TEST}\n       tests/test_toy.py::test_counts")
    assert "GREEN tests/test_toy.py::test_counts" in output(toy, capsys, expected=1)


def test_a_patch_that_no_longer_applies_is_an_error(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The code moved on and the patch did not."""
    write(toy, WITHOUT_GUARD.replace("negative", "below zero"))
    assert "no longer applies" in output(toy, capsys, expected=1)


def test_a_test_that_is_red_anyway_is_an_error(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that fails with the defence in place proves nothing by failing without it."""
    (toy / "toy/__init__.py").write_text("def root(number):\n    return number ** 0.5\n")
    assert f"red without any change: {TEST}" in output(toy, capsys, expected=1)


def test_a_test_that_is_not_there_is_an_error(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A test that was renamed is no proof."""
    write(toy, WITHOUT_GUARD, "tests/test_toy.py::test_gone")
    assert "pytest exited with 4" in output(toy, capsys, expected=1)


def test_a_mutant_that_breaks_the_import_is_an_error(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tree that cannot be imported makes every test red and shows nothing."""
    write(toy, WITHOUT_GUARD.replace(" def root", "+def\n def root").replace("-1,4 +1,2", "-1,4 +1,3"))
    assert "ERROR pytest exited with" in output(toy, capsys, expected=1)


def test_an_installed_package_must_not_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutated copy that is not what is imported would let every mutant live, or die for nothing."""
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki/__init__.py").touch()
    mutants.check_imports(tmp_path)
    monkeypatch.setattr(mutants, "environment_of", lambda tree: {"PYTHONPATH": str(mutants.ROOT)})
    with pytest.raises(mutants.MutantError, match="pki would be imported from"):
        mutants.check_imports(tmp_path)


def test_a_patch_without_a_header_is_an_error(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A patch says what it takes away, for which case, and who must notice."""
    (toy / "tests/mutants/guard.patch").write_text("Case: TOY-01\n" + WITHOUT_GUARD)
    assert "guard.patch: no Defence, Tests in it" in output(toy, capsys, expected=1)


def test_a_word_chooses(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``-k`` tries the matching ones only, and writes no page; a word that matches none is an error."""
    assert "guard" in output(toy, capsys, "-k", "toy-01", expected=0)
    assert not (toy / mutants.PAGE).exists()
    assert "no patch in tests/mutants matches 'other'" in output(toy, capsys, "-k", "other", expected=1)


@pytest.mark.parametrize("mutant", mutants.read_all(mutants.ROOT), ids=lambda mutant: mutant.name)
def test_the_patch_applies(mutant: mutants.Mutant) -> None:
    """The project's own patches fit its code as it stands."""
    mutants.apply(mutant, mutants.ROOT, dry=True)


def test_the_page_lists_every_patch() -> None:
    """docs/mutants.md is what ``make mutants`` writes."""
    assert (mutants.ROOT / mutants.PAGE).read_text() == mutants.page(mutants.read_all(mutants.ROOT))
