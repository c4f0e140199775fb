"""The table of peers of other makes."""

from __future__ import annotations

import re
from pathlib import Path

from scripts import interop_page as interop

ROOT = Path(__file__).parents[2]

PROPERTIES = """<properties>
<property name="peer" value="Go"/><property name="direction" value="Go calls Python"/>
<property name="case" value="{}"/></properties>"""
REPORT = f"""<testsuites><testsuite>
<testcase name="a">{PROPERTIES.format("works")}</testcase>
<testcase name="b">{PROPERTIES.format("fails")}<failure/></testcase>
<testcase name="c">{PROPERTIES.format("is skipped")}<skipped/></testcase>
<testcase name="of another folder"/>
</testsuite></testsuites>"""


def test_rows(tmp_path: Path) -> None:
    """Each case has its result, also one that failed."""
    (tmp_path / "report.xml").write_text(REPORT)
    found = interop.rows(tmp_path / "report.xml")
    assert [(row.case, row.result) for row in found] == [
        ("fails", "FAILED"),
        ("is skipped", "not checked"),
        ("works", "passed"),
    ]


def test_versions() -> None:
    """Versions are those that the Go peer is built with."""
    assert re.fullmatch(r"quic-go v[\d.]+, grpc-go v[\d.]+, a2a-go v[\d.]+", interop.versions(ROOT)["Go"])


def test_page() -> None:
    """The page has a row a case."""
    text = interop.page([interop.Row("Go", "Go calls Python", "works", "passed")], {"Go": "quic-go v1"})
    assert text.endswith("| Go | quic-go v1 | Go calls Python | works | passed |\n")


def test_committed_page() -> None:
    """The page in the tree shows cases of both directions, none of which failed or was not checked."""
    text = (ROOT / interop.PAGE).read_text()
    results = re.findall(r"^\| (?:Go|Python|quiche|ngtcp2) .* \| ([^|]+) \|$", text, re.MULTILINE)
    assert len(results) > 80
    assert set(results) == {"passed"}
