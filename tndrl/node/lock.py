"""The state directory: one node's alone while it runs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from tndrl.errors import ConfigError

LOCK_NAME = "lock"


class StateDirectory:
    """Creates a state directory (0700) and holds its lock; a context manager.

    The lock is the kernel's (flock(2)): it goes with the process, however that ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self._file = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._close()
            raise ConfigError(
                f"{self.path} is in use by another node; give each node a directory of its own",
                key="stateDir",
            ) from error
        except OSError as error:
            self._close()
            raise ConfigError(
                f"cannot use {self.path}: {error.strerror}; choose a directory that this user can write",
                key="stateDir",
            ) from error
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
