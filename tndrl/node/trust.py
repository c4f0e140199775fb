"""From configuration to credentials, patterns and settings: what both a node and a caller need."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pki import credentials
from pki.credentials import Credentials
from pki.errors import FileError, PkiError
from pki.spiffe import IdPattern
from tndrl.config import Config
from tndrl.config.schema import expand
from tndrl.errors import ConfigError
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.tracing import TraceSettings


def load_credentials(config: Config) -> Credentials:
    """Return our certificate, key and trusted CAs; raises ConfigError naming the file and the setting."""
    paths = config.pki.paths()
    with _as_config_error():
        return credentials.load(paths.cert, paths.key, paths.ca_cert)


def node_credentials(config: Config) -> Credentials:
    """Return a node's credentials; with ``pki.init``, what is missing of them is created first.

    May block on the resolver. Raises ConfigError.
    """
    if config.pki.init:
        from pki import authority  # nothing else of a node needs to issue
        from pki.files import PkiFiles

        paths = config.pki.paths()
        where = PkiFiles(paths.ca_cert, paths.ca_key, paths.cert, paths.key)
        with _as_config_error():
            authority.ensure(paths.cert.parent, host_as_node_name(socket.gethostname()), where=where)
    return load_credentials(config)


def host_as_node_name(host: str) -> str:
    """Return a host name as the last segment of a SPIFFE ID (SPIFFE-ID section 2.2)."""
    return re.sub(r"[^a-zA-Z0-9._-]", "-", host.partition(".")[0]) or "node"


@contextmanager
def _as_config_error() -> Iterator[None]:
    try:
        yield
    except FileError as error:
        raise ConfigError(f"{error.problem}; {error.cure}", key=error.key, source=str(error.path)) from error
    except PkiError as error:
        raise ConfigError(str(error), key="pki") from error


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
        max_datagram=transport.max_datagram,
        early_data=transport.early_data,
        limits=config.limits,
        trace=TraceSettings(
            qlog_dir=expand(transport.qlog_dir, "transport.qlogDir") if transport.qlog_dir else None,
            qlog_size=transport.qlog_size,
            key_log_file=expand(transport.key_log_file, "transport.keyLogFile")
            if transport.key_log_file
            else None,
        ),
    )
