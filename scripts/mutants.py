"""Take each defence away and see its tests go red: a test that stays green proves nothing.

``tests/mutants/*.patch`` are unified diffs, one per defence. Lines before the diff name it::

    Defence: what is taken away
    Case: the case's id
    Tests: tests/pki/test_svid.py::test_name
           tests/pki/test_svid.py::test_other

Every patch is applied to a copy of the tree, where its tests run: each must fail, and pass in an unchanged copy.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path("docs/mutants.md")
LIMIT = 300.0
"""Seconds that the tests of one mutant may take in all."""
IGNORED = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "bench-results")
FIELDS = ("Defence", "Case", "Tests")


class MutantError(Exception):
    """A patch that cannot be tried: it does not say what it is, does not apply, or its tests do not run."""


@dataclass(frozen=True)
class Mutant:
    """One patch: what it takes away, the case that asks for it and the tests that must notice."""

    name: str
    path: Path
    defence: str
    case: str
    tests: tuple[str, ...]


def read(path: Path) -> Mutant:
    """Read a patch's header; raise MutantError where a field is missing."""
    header, *diff = re.split(
        r"^(?:diff|---) ", path.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE
    )
    fields: dict[str, list[str]] = {}
    words: list[str] = []
    for line in header.splitlines():
        key, colon, value = line.partition(":")
        if colon and key in FIELDS:
            words = fields.setdefault(key, [])
            line = value
        words += line.split()
    missing = [key for key in FIELDS if not fields.get(key)]
    if missing or not diff:
        raise MutantError(f"{path.name}: no {', '.join(missing) or 'diff'} in it")
    return Mutant(
        path.stem, path, " ".join(fields["Defence"]), " ".join(fields["Case"]), tuple(fields["Tests"])
    )


def read_all(root: Path, wanted: str = "") -> list[Mutant]:
    """Return the mutants of ``root`` whose name, defence or case contains ``wanted``, at least one."""
    mutants = [read(path) for path in sorted((root / "tests" / "mutants").glob("*.patch"))]
    found = [m for m in mutants if wanted.lower() in f"{m.name} {m.defence} {m.case}".lower()]
    if not found:
        raise MutantError(f"no patch in tests/mutants matches {wanted!r}")
    return found


def apply(mutant: Mutant, tree: Path, *, dry: bool = False) -> None:
    """Apply the patch to ``tree``, or only see if it would; raise MutantError where it no longer fits."""
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    command = ["git", "apply", "-C1", "--whitespace=nowarn", *(["--check"] if dry else []), str(mutant.path)]
    run = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise MutantError(f"{mutant.name}: the patch no longer applies: {run.stderr.strip()}")


def environment_of(tree: Path) -> dict[str, str]:
    """Return an environment in which ``tree`` is what is imported, in child processes too."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(tree / folder) for folder in (".", "cmd", "tests")),
    }


def check_imports(tree: Path) -> None:
    """Raise MutantError unless every package comes from ``tree``: an editable installation must not win."""
    packages = [path.parent for path in tree.glob("*/__init__.py")]
    packages += [path.parent for path in tree.glob("cmd/*/__init__.py")]
    script = "import importlib.util, sys\nfor n in sys.argv[1:]: print(importlib.util.find_spec(n).origin)"
    command = [sys.executable, "-c", script, *(package.name for package in packages)]
    run = subprocess.run(
        command, cwd=tree.parent, env=environment_of(tree), capture_output=True, text=True, check=True
    )
    for package, origin in zip(packages, run.stdout.splitlines(), strict=True):
        if Path(origin).resolve() != (package / "__init__.py").resolve():
            raise MutantError(f"{package.name} would be imported from {origin}, not from {tree}")


def failures(tree: Path, tests: Iterable[str], limit: float = LIMIT) -> tuple[set[str], set[str]]:
    """Run ``tests`` in ``tree``, ``limit`` seconds at most; return those with a failure, and those that ran.

    Raises MutantError where pytest could not run them all: a mutant must not break the import.
    """
    ids = sorted(set(tests))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = subprocess.run(
        [*command, "--junitxml=report.xml", *ids],
        cwd=tree,
        env=environment_of(tree),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit,
        check=False,
    )
    if run.returncode not in (0, 1):
        raise MutantError(f"pytest exited with {run.returncode}:\n{run.stdout[-2000:]}")
    red, ran = set(), set()
    for case in ElementTree.parse(tree / "report.xml").iter("testcase"):  # noqa: S314  # pytest wrote it
        results = {child.tag for child in case}
        for test in ids:
            if _is_of(case, test):
                ran |= set() if "skipped" in results else {test}
                red |= {test} if results & {"failure", "error"} else set()
    return red, ran


def _is_of(case: ElementTree.Element, test: str) -> bool:
    """Return whether a reported case is ``test`` itself or one of its parameters."""
    file, _, names = test.partition("::")
    dotted = ".".join([*Path(file).with_suffix("").parts, *names.split("::")])
    reported = f"{case.get('classname')}.{case.get('name')}"
    return reported == dotted or reported.startswith(dotted + "[")


def copy(root: Path, scratch: Path, name: str) -> Path:
    """Copy the tree at ``root`` into a folder of ``scratch`` and return it."""
    return Path(shutil.copytree(root, scratch / name, ignore=IGNORED, symlinks=True))


def try_mutant(mutant: Mutant, root: Path, scratch: Path) -> str:
    """Return "red" where every test of ``mutant`` fails without the defence, else what was wrong."""
    try:
        tree = copy(root, scratch, mutant.name)
        apply(mutant, tree)
        check_imports(tree)
        red, _ = failures(tree, mutant.tests)
    except (MutantError, subprocess.TimeoutExpired) as error:
        return f"ERROR {error}"
    alive = [test for test in mutant.tests if test not in red]
    return f"GREEN {' '.join(alive)}" if alive else "red"


def try_all(mutants: Sequence[Mutant], root: Path, scratch: Path, jobs: int) -> bool:
    """Try every mutant, ``jobs`` at once, printing each result; return whether all are red."""
    all_red = True
    with ThreadPoolExecutor(jobs) as pool:
        for mutant, result in zip(
            mutants, pool.map(lambda m: try_mutant(m, root, scratch), mutants), strict=True
        ):
            print(f"{mutant.case:10} {mutant.name:40} {result}", flush=True)
            all_red = all_red and result == "red"
    return all_red


def check_unchanged(mutants: Sequence[Mutant], root: Path, scratch: Path) -> None:
    """Raise MutantError unless every test of ``mutants`` runs and passes while the defences are there."""
    tests = [test for mutant in mutants for test in mutant.tests]
    tree = copy(root, scratch, "unchanged")
    check_imports(tree)
    red, ran = failures(tree, tests, LIMIT * len(mutants))
    if red:
        raise MutantError(f"red without any change: {' '.join(sorted(red))}")
    if skipped := set(tests) - ran:
        raise MutantError(f"did not run at all: {' '.join(sorted(skipped))}")


def page(mutants: Iterable[Mutant]) -> str:
    """Return the page that lists every mutant."""
    head = (
        "# Defences and the tests that miss them\n\n"
        "`make mutants` takes each defence below away in a copy of the tree and runs its tests: all of them go red.\n"
        "It writes this page.\n\n"
        "A case that is not here is held by aioquic or grpcio alone (QUIC-11, H2-10, H2-11, H2-13, H2-14 among\n"
        "others): its tests would tell of a release that lets go.\n\n"
        "| Case | Without this | These tests go red | Patch |\n|---|---|---|---|\n"
    )
    rows = [
        f"| {m.case} | {m.defence} | {'<br>'.join(f'`{t}`' for t in m.tests)} | `tests/mutants/{m.path.name}` |\n"
        for m in mutants
    ]
    return head + "".join(rows)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Try the mutants that the arguments choose; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-k", default="", metavar="WORD", help="only those with WORD in name, defence or case"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (2)")
    options = parser.parse_args(arguments)
    try:
        mutants = read_all(root, options.k)
        with tempfile.TemporaryDirectory(prefix="tndrl-mutants-") as scratch:
            check_unchanged(mutants, root, Path(scratch))
            all_red = try_all(mutants, root, Path(scratch), options.jobs)
    except MutantError as error:
        print(error, file=sys.stderr)
        return 1
    if not all_red:
        return 1
    if not options.k:
        (root / PAGE).write_text(page(mutants), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
