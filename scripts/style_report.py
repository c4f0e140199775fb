"""Print how long modules, functions and tests are, how much is said about them, and what is missing.

Nothing depends on the numbers: they show where to look.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("tndrl", "pki", "cmd")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(root: Path, *folders: str) -> dict[Path, str]:
    """Return the written (not generated) modules below ``folders`` with their text."""
    paths = (path for folder in folders for path in sorted((root / folder).rglob("*.py")))
    return {path: path.read_text(encoding="utf-8") for path in paths if "_pb2" not in path.name}


def functions(texts: dict[Path, str]) -> Iterator[Function]:
    """Yield every function and method."""
    for text in texts.values():
        yield from (node for node in ast.walk(ast.parse(text)) if isinstance(node, Function))


def lines_of(function: Function) -> int:
    """Return the lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def count_comments(text: str) -> int:
    """Return the comments in a module, those at the end of a line included."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT for token in tokens)


def undocumented(texts: dict[Path, str]) -> Iterator[str]:
    """Yield public functions and classes, at the top of a module or of a public class, without a docstring."""
    for path, text in texts.items():
        places: list[ast.Module | ast.ClassDef] = [ast.parse(text)]
        for place in places:
            for node in place.body:
                if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
                    continue
                if ast.get_docstring(node) is None:
                    yield f"{path.name}:{node.lineno} {node.name}"
                if isinstance(node, ast.ClassDef):
                    places.append(node)


def spread(sizes: list[int]) -> str:
    """Return median, ninth decile and maximum of ``sizes``."""
    if len(sizes) < 2:
        return f"{sizes}"
    return f"median {median(sizes):.0f}, p90 {quantiles(sizes, n=10)[-1]:.0f}, max {max(sizes)}"


def report(root: Path) -> str:
    """Return the report of the tree at ``root``."""
    sources, tests = modules(root, *SOURCES), modules(root, "tests")
    lines = [line.strip() for text in sources.values() for line in text.splitlines()]
    comments = sum(count_comments(text) for text in sources.values())
    code = sum(bool(line) and not line.startswith("#") for line in lines)
    test_lines = sum(len(text.splitlines()) for text in tests.values())
    cases = [lines_of(function) for function in functions(tests) if function.name.startswith("test_")]
    lacking = list(undocumented(sources))
    return "\n".join(
        [
            f"modules:          {spread([len(text.splitlines()) for text in sources.values()])} lines",
            f"functions:        {spread([lines_of(function) for function in functions(sources)])} lines",
            f"tests:            {spread(cases)} lines, {len(cases)} of them",
            f"test : source     {test_lines / max(1, len(lines)):.2f}",
            f"comments : code   {comments / max(1, code):.2f}",
            f"type: ignore      {sum('type: ignore' in line for line in lines)}",
            f"TODO              {sum('TODO' in line for line in lines)}",
            f"undocumented      {len(lacking)} {' '.join(lacking[:10])}",
        ]
    )


if __name__ == "__main__":
    sys.exit(print(report(ROOT)))
