"""Configuration: one schema for files, variables, flags and the reference page."""

from tndrl.config.address import Address, parse_address
from tndrl.config.load import load_config
from tndrl.config.schema import (
    AgentConfig,
    BuiltinMcpServer,
    Config,
    ControlConfig,
    LlmConfig,
    LocalMcpServer,
    McpServer,
    PeerConfig,
    PkiConfig,
    PkiPaths,
    RemoteMcpServer,
    ServerConfig,
    SkillConfig,
)
from tndrl.config.settings import SETTINGS, Setting
from tndrl.config.transport import LimitsConfig, TransportConfig

__all__ = [
    "SETTINGS",
    "Address",
    "AgentConfig",
    "BuiltinMcpServer",
    "Config",
    "ControlConfig",
    "LimitsConfig",
    "LlmConfig",
    "LocalMcpServer",
    "McpServer",
    "PeerConfig",
    "PkiConfig",
    "PkiPaths",
    "RemoteMcpServer",
    "ServerConfig",
    "Setting",
    "SkillConfig",
    "TransportConfig",
    "load_config",
    "parse_address",
]
