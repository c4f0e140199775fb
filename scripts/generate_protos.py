"""Generate the Python code of every .proto file, in place, or check that what is committed is what comes out.

The proto package equals the Python path, so the output is used as it comes and never edited. Four files each:
the messages, their types, the stubs and servicers, and the types of those for blocking and asyncio callers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]  # it ships no types

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


@dataclass(frozen=True)
class Target:
    """One .proto file: where its imports start, its path below that, and the folder its code goes below."""

    source: str
    proto: str
    output: str

    def names(self) -> list[str]:
        """Return the generated files' paths below ``output``."""
        stem = self.proto.removesuffix(".proto")
        return [stem + suffix for suffix in SUFFIXES]


TARGETS = (
    Target("proto", "tndrl/v1/control.proto", "."),
    Target("examples/greeter", "greeter.proto", "examples/greeter"),
)


def generate(target: Target, root: Path, output: Path) -> None:
    """Generate ``target`` of the tree at ``root`` below ``output``; raise SystemExit where protoc fails."""
    output.mkdir(parents=True, exist_ok=True)
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={root / target.source}",
            f"--proto_path={resources.files('grpc_tools') / '_proto'}",
            f"--plugin=protoc-gen-mypy={plugin('protoc-gen-mypy')}",
            f"--plugin=protoc-gen-mypy_grpc={plugin('protoc-gen-mypy_grpc')}",
            f"--python_out={output}",
            f"--mypy_out=quiet:{output}",
            f"--grpc_python_out={output}",
            f"--mypy_grpc_out=quiet:{output}",
            target.proto,
        ]
    )
    if status:
        raise SystemExit(f"{target.source}/{target.proto}: protoc failed with status {status}")


def plugin(name: str) -> Path:
    """Return the path of a protoc plugin that is installed beside the running interpreter."""
    return Path(sys.executable).parent / name


def differences(root: Path, targets: tuple[Target, ...] = TARGETS) -> list[str]:
    """Return the committed files below ``root`` that are not what their .proto file gives now."""
    found = []
    with tempfile.TemporaryDirectory(prefix="tndrl-protos-") as scratch:
        for target in targets:
            fresh = Path(scratch) / target.output
            generate(target, root, fresh)
            for name in target.names():
                committed = root / target.output / name
                if not committed.is_file() or committed.read_bytes() != (fresh / name).read_bytes():
                    found.append(str(Path(target.output) / name))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Generate everything, or with ``--check`` compare only; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a file is out of date")
    options = parser.parse_args(arguments)
    if not options.check:
        for target in TARGETS:
            generate(target, ROOT, ROOT / target.output)
        return 0
    stale = differences(ROOT)
    for name in stale:
        print(f"{name} is not what its .proto file gives; run 'make format'", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
