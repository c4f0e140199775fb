"""The database of an agent: its tables, its engine and its transactions.

One agent has one database to itself: what stands there as running is what this process runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from a2a.server.models import TaskMixin
from a2a.utils.errors import InternalError
from sqlalchemy import Column, Float, Integer, LargeBinary, String, Table, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import AsyncAdaptedQueuePool

from tndrl.errors import ConfigError, peer_text

MAX_ID = 128
"""Characters of an ID that a caller makes up: with a SPIFFE ID of 2,048 bytes it fits PostgreSQL's index rows."""

FILE = "agent.db"
"""The name of the SQLite file in the state directory."""

_MEMORY = "sqlite+aiosqlite:///:memory:"

logger = logging.getLogger("tndrl.agent")

T = TypeVar("T")


class Base(DeclarativeBase):
    """All tables."""


class TaskRow(TaskMixin, Base):
    """The SDK's table of tasks, with room for SPIFFE IDs and for context IDs that callers make up."""

    __tablename__ = "tasks"

    owner: Mapped[str] = mapped_column(String(2048))
    context_id: Mapped[str] = mapped_column(String(MAX_ID))


EVENTS = Table(
    "events",
    Base.metadata,
    Column("task_id", String(36), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(2048), nullable=False),
    Column("state", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("created", Float, nullable=False),
)
"""What happened to each task: StreamResponses by number, with the state that the task had afterwards."""

MESSAGES = Table(
    "messages",
    Base.metadata,
    Column("owner", String(2048), primary_key=True),
    Column("message_id", String(MAX_ID), primary_key=True),
    Column("task_id", String(36), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("answer", LargeBinary),
    Column("created", Float, nullable=False, index=True),
)
"""Which task each message made or went on with, and the number of the last event before it."""


class Database:
    """Where tasks, events and messages are kept. Use it as an async context manager, on one event loop.

    ``store`` is ``memory`` or a SQLAlchemy URL with an asynchronous driver; None is a SQLite file in ``state_dir``,
    which only this user can read. Entering makes what tables are missing and raises ConfigError where the database
    cannot be used. Leaving waits for the transactions that run.
    """

    def __init__(self, store: str | None, state_dir: Path) -> None:
        self._url = _url(store, state_dir)
        self._engine = _engine(self._url)
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine."""
        return self._engine

    async def __aenter__(self) -> Self:
        try:
            if self._url.get_backend_name() == "sqlite" and self._url.database not in (None, "", ":memory:"):
                _create_private(Path(str(self._url.database)))
            async with self._engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
        except (SQLAlchemyError, OSError) as exc:
            await self._engine.dispose()
            cause = peer_text(str(getattr(exc, "orig", None) or exc))
            raise ConfigError(
                f"cannot use the database {self._url}: {cause}; check that it is there, whole and writable",
                key="agent.store",
            ) from exc
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._running:
            await asyncio.wait(self._running)
        await self._engine.dispose()

    async def transaction(
        self,
        work: Callable[[AsyncConnection], Awaitable[T]],
        then: Callable[[T], None] = lambda _result: None,
    ) -> T:
        """Return what ``work`` does with a connection, once it is committed; what it raises rolls back.

        ``then`` is called with the result after the commit. Cancelling the caller stops neither.
        """

        async def run() -> T:
            async with self._engine.begin() as connection:
                result = await work(connection)
            then(result)
            return result

        return await self.to_the_end(run())

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work`` that uses the engine; it goes on if the caller is cancelled.

        SQLAlchemy throws the connection of a cancelled query away, and a database in memory with it. Its errors are
        logged and raised as the SDK's InternalError, which tells peers nothing, but for IntegrityError. A database
        that was left raises InternalError too.
        """
        if self._closed:
            work.close()
            raise InternalError(message="the agent has stopped")
        task = asyncio.create_task(_translated(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)


async def _translated(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except IntegrityError:
        raise
    except (SQLAlchemyError, OSError) as exc:
        logger.exception("the agent's database failed")
        raise InternalError(message="the agent's database failed; the log of its node says why") from exc


def _url(store: str | None, state_dir: Path) -> URL:
    if store is None:
        return URL.create("sqlite+aiosqlite", database=str(state_dir / FILE))
    if store == "memory":
        return make_url(_MEMORY)
    try:
        return make_url(store)
    except (SQLAlchemyError, ValueError) as exc:
        raise ConfigError(
            "this is no SQLAlchemy URL; write 'memory', or one such as "
            "'postgresql+asyncpg://user:password@host/database'",
            key="agent.store",
        ) from exc


def _engine(url: URL) -> AsyncEngine:
    """One connection serves SQLite: it has one writer at a time anyway, and each has its own database in memory.

    Transactions wait for a connection however long the others before them take: to give up would cost a task its end.
    """
    sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = (
        {"poolclass": AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
        if sqlite
        else {"pool_pre_ping": True}
    )
    try:
        engine = create_async_engine(url, pool_timeout=None, **options)
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"the driver of {url.drivername} is not installed; run: pip install {exc.name}", key="agent.store"
        ) from exc
    except SQLAlchemyError as exc:
        raise ConfigError(
            f"{url.drivername} cannot be used: {exc}; name an asynchronous driver, such as sqlite+aiosqlite or "
            "postgresql+asyncpg",
            key="agent.store",
        ) from exc
    if sqlite:
        event.listen(engine.sync_engine, "connect", _tune)
    return engine


def _tune(connection: Any, _record: object) -> None:
    """A commit outlives the process at once, and a loss of power from the next checkpoint on."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _create_private(path: Path) -> None:
    """SQLite gives its other files the rights of this one."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
