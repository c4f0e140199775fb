"""From configuration to credentials, patterns and settings: what both a node and a caller need."""

from __future__ import annotations

from collections.abc import Iterable

from pki import credentials
from pki.credentials import Credentials
from pki.errors import FileError, PkiError
from pki.spiffe import IdPattern
from tndrl.config import Config
from tndrl.errors import ConfigError
from tndrl.transport.endpoint import QuicSettings


def load_credentials(config: Config) -> Credentials:
    """Return our certificate, key and trusted CAs; raises ConfigError naming the file and the setting."""
    paths = config.pki.paths()
    try:
        return credentials.load(paths.cert, paths.key, paths.ca_cert)
    except FileError as error:
        raise ConfigError(f"{error.problem}; {error.cure}", key=error.key, source=str(error.path)) from error
    except PkiError as error:
        raise ConfigError(str(error)) from error


def patterns(globs: Iterable[str]) -> tuple[IdPattern, ...]:
    """Return patterns of SPIFFE IDs that the configuration has checked already."""
    return tuple(IdPattern.parse(glob) for glob in globs)


def quic_settings(config: Config) -> QuicSettings:
    """Return the numbers of our connections."""
    transport = config.transport
    return QuicSettings(
        idle_timeout=transport.idle_timeout,
        keepalive=transport.keepalive,
        handshake_timeout=transport.handshake_timeout,
    )
