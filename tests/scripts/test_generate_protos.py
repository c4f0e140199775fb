"""The generated code is what its .proto file gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts import generate_protos
from scripts.generate_protos import ROOT, TARGETS


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of every .proto file and of what is generated from it."""
    for target in TARGETS:
        for name in [f"{target.source}/{target.proto}", *(f"{target.output}/{n}" for n in target.names())]:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_what_is_committed_is_current(tree: Path) -> None:
    """Nothing differs in the tree as it is committed."""
    assert generate_protos.differences(tree) == []


def test_a_changed_proto_file_is_noticed(tree: Path) -> None:
    """A .proto file that was changed without generating makes its code out of date."""
    proto = tree / "proto/tndrl/v1/control.proto"
    proto.write_text(proto.read_text().replace("string reason = 3;", "string reason = 3;\n  int32 more = 4;"))
    stale = generate_protos.differences(tree, TARGETS[:1])
    assert stale == ["tndrl/v1/control_pb2.py", "tndrl/v1/control_pb2.pyi"]


def test_a_missing_file_is_noticed(tree: Path) -> None:
    """A generated file that is not there counts as out of date."""
    (tree / "tndrl/v1/control_pb2_grpc.pyi").unlink()
    assert generate_protos.differences(tree, TARGETS[:1]) == ["tndrl/v1/control_pb2_grpc.pyi"]


def test_a_broken_proto_file_ends_with_its_name(tree: Path) -> None:
    """A .proto file that does not compile is named."""
    (tree / "proto/tndrl/v1/control.proto").write_text("message")
    with pytest.raises(SystemExit, match=r"proto/tndrl/v1/control\.proto: protoc failed"):
        generate_protos.differences(tree, TARGETS[:1])
