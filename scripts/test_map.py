"""Check that each source module has its test file by name, and that each test file has its module.

``pki/svid.py`` is tested by ``tests/pki/test_svid.py``; a leading underscore of the module's name is dropped.
A package's ``__init__.py`` needs a ``test_init.py`` only where it defines a function or a class.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("tndrl", "pki", "cmd")

UNTESTED = {
    "tndrl/v1": "generated",
    "tndrl/_version.py": "one constant",
}
"""Folder or file -> why it has no test file of its own."""

SCENARIOS = {
    "tests/interop": "peers of other makes, both directions",
    "tests/rogue": "the tests' rogue QUIC peers",
    "tests/support": "the tests' own tools",
    "tests/scenarios": "several processes or parts at once, as users meet them",
    "tests/scripts": "the scripts",
    "tests/test_docs.py": "the reference tables of the transport page",
    "tests/test_demo.py": "the demo, as a person runs it",
    "tests/test_examples.py": "the examples, as their first lines say",
    "tests/test_readme.py": "the README's code",
    "tests/wire": "the cases, on the wire against a running node",
}
"""Test folder or file that mirrors no module -> what it is about. Every other one must mirror one."""


def problems(root: Path) -> list[str]:
    """Return one line per module without its test file and per test file without its module."""
    expected = {
        test_of(module.relative_to(root)): module.relative_to(root)
        for source in SOURCES
        for module in sorted((root / source).rglob("*.py"))
        if not _listed(module.relative_to(root), UNTESTED) and _needs_test(module)
    }
    present = {path.relative_to(root) for path in (root / "tests").rglob("test_*.py")}
    found = [
        f"{module} has no test file; expected {test}"
        for test, module in expected.items()
        if test not in present
    ]
    strays = [test for test in sorted(present - set(expected)) if not _listed(test, SCENARIOS)]
    return found + [
        f"{test} mirrors no module and is not in SCENARIOS of scripts/test_map.py" for test in strays
    ]


def test_of(module: Path) -> Path:
    """Return the path of the test file that belongs to ``module``, both relative to the root."""
    stem = "init" if module.stem == "__init__" else module.stem.lstrip("_")
    return Path("tests") / module.with_name(f"test_{stem}.py")


def _listed(path: Path, table: dict[str, str]) -> bool:
    return any(str(place) in table for place in (path, *path.parents))


def _needs_test(module: Path) -> bool:
    if module.stem != "__init__":
        return True
    body = ast.parse(module.read_text(encoding="utf-8")).body
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in body)


def main() -> int:
    """Print what does not match; return the exit code."""
    found = problems(ROOT)
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
