"""Files of keys and certificates: read with care, created once, whole, with the right mode from the first moment."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pki.errors import FileError, RefusedError, shown

MAX_FILE_BYTES = 1024 * 1024
PRIVATE = 0o600
PUBLIC = 0o644


@dataclass(frozen=True)
class PkiFiles:
    """Where a node's four files are. ``ca_key`` is needed for issuing only."""

    ca_cert: Path
    ca_key: Path
    cert: Path
    key: Path

    @classmethod
    def within(cls, directory: Path) -> PkiFiles:
        """The usual names in one directory."""
        return cls(
            directory / "ca.crt", directory / "ca.key", directory / "tndrl.crt", directory / "tndrl.key"
        )


@dataclass(frozen=True)
class NewFile:
    """A file to create: ``mode`` is exact, whatever the umask."""

    path: Path
    data: bytes
    mode: int = PUBLIC


def read(path: Path, *, key: str | None = None, private: bool = False) -> bytes:
    """Return a file's content, at most 1 MiB.

    ``key`` is the configuration key to name in an error; a ``private`` file must be closed to group and others.
    Raises ``FileError``.
    """
    try:
        # Not blocking: a FIFO in a file's place must not hang the start.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FileError(path, "is not a regular file", "name a file", key=key)
            if private and status.st_mode & 0o077:
                mode = f"{stat.S_IMODE(status.st_mode):04o}"
                cure = f"run: chmod 600 '{path}'"
                raise FileError(path, f"the private key is open to others (mode {mode})", cure, key=key)
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error, key) from error
    if len(data) > MAX_FILE_BYTES:
        raise FileError(path, f"is larger than {MAX_FILE_BYTES} bytes", "name the right file", key=key)
    return data


def _unreadable(path: Path, error: OSError, key: str | None) -> FileError:
    if isinstance(error, FileNotFoundError):
        return FileError(path, "does not exist", "create it with tndrl-pki, or name another file", key=key)
    if isinstance(error, PermissionError):
        return FileError(path, "may not be read by this user", "check its owner and mode", key=key)
    return FileError(path, f"cannot be read ({error.strerror})", "name a readable file", key=key)


def create(files: Sequence[NewFile]) -> None:
    """Create files, all or none; none may exist.

    Everything is on disk under other names before the first appears under its own, so a full disk leaves nothing
    behind; the names are then linked in order, which fails on one that exists, so of two that race one wins and the
    other leaves nothing. Missing directories are made (0700). Raises ``RefusedError`` if a file exists,
    ``FileError`` if one cannot be written.
    """
    for file in files:
        make_directory(file.path.parent)
    with ExitStack() as temporaries, ExitStack() as created:
        written = [(file.path, _write_temporary(file, temporaries)) for file in files]
        for path, temporary in written:
            try:
                path.hardlink_to(temporary)
            except OSError as error:
                raise _not_created(path, error) from error
            created.callback(path.unlink)
        for parent in {path.parent for path, _ in written}:
            _sync_directory(parent)
        created.pop_all()


def _write_temporary(file: NewFile, temporaries: ExitStack) -> Path:
    temporary = file.path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, file.mode)) as stream:
            temporaries.callback(temporary.unlink)
            # The umask can only have taken rights away; a key is never more open than its mode.
            os.fchmod(stream.fileno(), file.mode)
            stream.write(file.data)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise _not_created(file.path, error) from error
    return temporary


def _not_created(path: Path, error: OSError) -> FileError | RefusedError:
    if isinstance(error, FileExistsError):
        return RefusedError(
            f"{shown(str(path))} exists already", "it is never overwritten: move it away first"
        )
    return FileError(
        path, f"cannot be written ({error.strerror})", "check the directory, its owner and the disk"
    )


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Create a directory (0700) and its parents where they are missing. Raises ``FileError``."""
    try:
        if not directory.is_dir():
            directory.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                directory.mkdir(mode=0o700)
                directory.chmod(0o700)
        if not directory.is_dir():
            raise FileError(directory, "is not a directory", "name another one")
    except OSError as error:
        raise FileError(
            directory, f"cannot be created ({error.strerror})", "name another directory"
        ) from error


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory's lock (flock on the directory itself, so nothing is left behind); waits for its holder.

    Raises ``FileError`` if the directory cannot be opened.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FileError(
            directory, f"cannot be opened ({error.strerror})", "name another directory"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
