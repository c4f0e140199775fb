"""The levels of libraries' loggers; that no secret is logged is tested with the providers."""

from __future__ import annotations

import logging

import pytest

from tndrl.llm.quiet import quieten


@pytest.fixture(params=["openai", "httpx2", "httpcore2", "pydantic_ai", "mcp"])
def library(request):
    logger = logging.getLogger(request.param)
    before = logger.level
    yield logger
    logger.setLevel(before)


def test_libraries_are_kept_quiet(library):
    """Whatever the level of the rest."""
    library.setLevel(logging.NOTSET)
    quieten()
    assert library.level >= logging.WARNING


def test_a_level_that_somebody_set_is_kept(library):
    """Who wants to see the libraries' messages may."""
    library.setLevel(logging.DEBUG)
    quieten()
    assert library.level == logging.DEBUG
