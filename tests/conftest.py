"""Fixtures of every test: no leaks, folders with short names, and an environment of the tests' own."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from pytest_asyncio.plugin import PytestAsyncioFunction

from support import leaks

settings.register_profile("tndrl", deadline=None, derandomize=os.environ.get("CI") == "1", database=None)
settings.load_profile("tndrl")


def pytest_collection_finish() -> None:
    """Take what was imported out of the collector's sight: a collection follows each test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give this process, and those it starts, a temporary folder of its own with a short name.

    Other processes' files would otherwise look like leaks, and a unix socket's path ends at 107 bytes.
    """
    tmp_path_factory.getbasetemp()
    shortest = "/tmp" if os.access("/tmp", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="tndrl-t-", dir=shortest))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        patch.setenv("TMPDIR", str(folder))
        for name in [name for name in os.environ if name.startswith("TNDRL_")]:
            patch.delenv(name)
        yield folder
    shutil.rmtree(folder)


@pytest.fixture
def short_dir(scratch: Path) -> Iterator[Path]:
    """Return an empty folder whose path is short enough for unix sockets; it is removed after the test."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def no_leaks(scratch: Path, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail the test that leaves anything behind; set up first, it looks when all other fixtures are gone."""
    watch = leaks.Watch(scratch)
    with leaks.LoopErrors() as errors:
        yield
        for phase in ("setup", "call", "teardown"):
            leaks.forget_arguments(caplog.get_records(phase))
        left = watch.leaks() + errors.lines
    if left:
        pytest.fail(leaks.report(left), pytrace=False)


@pytest.fixture
async def no_pending_tasks() -> AsyncIterator[None]:
    """Fail the test whose event loop still has tasks when everything else on it is torn down."""
    yield
    if left := await leaks.pending_tasks():
        pytest.fail(leaks.report(left), pytrace=False)


@pytest.fixture(autouse=True)
def watch_tasks(request: pytest.FixtureRequest, no_leaks: None) -> None:
    """Watch the event loop of tests that have one."""
    if isinstance(request.node, PytestAsyncioFunction):
        request.getfixturevalue("no_pending_tasks")
