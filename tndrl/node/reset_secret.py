"""The one secret of a node that outlives a crash: with it a restarted node tells its peers to connect anew."""

from __future__ import annotations

import os
from pathlib import Path

from pki import files
from pki.errors import FileError
from tndrl.errors import ConfigError
from tndrl.transport.stateless_reset import KEY_SIZE

NAME = "reset.key"


def reset_secret(state: Path) -> bytes:
    """Return the secret of stateless resets in a state directory whose lock is held; it is made the first time.

    Raises ConfigError if it cannot be written or read, is open to others, or is not what was written.
    """
    path = state / NAME
    try:
        if not path.exists():
            files.create([files.NewFile(path, os.urandom(KEY_SIZE), files.PRIVATE)])
        secret = files.read(path, private=True)
    except FileError as error:
        raise ConfigError(f"{error.problem}; {error.cure}", key="stateDir", source=str(path)) from error
    if len(secret) != KEY_SIZE:
        problem = f"is no key of {KEY_SIZE} bytes; remove it, and the node makes another"
        raise ConfigError(problem, key="stateDir", source=str(path))
    return secret
