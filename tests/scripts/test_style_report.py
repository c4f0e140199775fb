"""The report counts what it says it counts."""

from __future__ import annotations

from pathlib import Path

from scripts import style_report

SOURCE = '''\
def documented():
    """Words."""
    return 1


class Bare:
    def method(self):
        # why
        return 2

    def _private(self):
        return 3
'''


def test_the_report_counts(tmp_path: Path) -> None:
    """Bodies are counted without their docstring; public names without one are listed."""
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki/svid.py").write_text(SOURCE)
    report = style_report.report(tmp_path)
    assert "functions:        median 1, p90 1, max 1 lines" in report
    assert "undocumented      2 svid.py:6 Bare svid.py:7 method" in report


def test_generated_code_does_not_count(tmp_path: Path) -> None:
    """What protoc wrote says nothing about us."""
    (tmp_path / "tndrl").mkdir()
    (tmp_path / "tndrl/control_pb2.py").write_text(SOURCE)
    assert style_report.modules(tmp_path, "tndrl") == {}
