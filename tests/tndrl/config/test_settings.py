"""The flat table of settings."""

import pytest

from tndrl.config import SETTINGS, load_config

CONTRACT = {
    "logLevel": ("TNDRL_LOG_LEVEL", "--log-level"),
    "server.addr": ("TNDRL_ADDR", "--server-addr"),
    "agent.name": ("TNDRL_AGENT_NAME", "--agent-name"),
    "agent.description": ("TNDRL_AGENT_DESCRIPTION", "--agent-description"),
    "agent.inputModes": ("TNDRL_AGENT_INPUT_MODES", "--agent-input-modes"),
    "agent.outputModes": ("TNDRL_AGENT_OUTPUT_MODES", "--agent-output-modes"),
    "agent.streaming": ("TNDRL_AGENT_STREAMING", "--agent-streaming"),
    "llm.provider": ("TNDRL_LLM_PROVIDER", "--llm-provider"),
    "llm.model": ("TNDRL_LLM_MODEL", "--llm-model"),
    "llm.url": ("TNDRL_LLM_URL", "--llm-url"),
    "llm.systemPrompt": ("TNDRL_LLM_SYSTEM_PROMPT", "--llm-system-prompt"),
    "llm.maxSteps": ("TNDRL_LLM_MAX_STEPS", "--llm-max-steps"),
    "llm.mcpConfigFile": ("TNDRL_MCP_CONFIG", "--llm-mcp-config-file"),
    "pki.dir": ("TNDRL_PKI_DIR", "--pki-dir"),
    "pki.caCert": ("TNDRL_CA_CERT", "--pki-ca-cert"),
    "pki.caKey": ("TNDRL_CA_KEY", "--pki-ca-key"),
    "pki.cert": ("TNDRL_CERT", "--pki-cert"),
    "pki.key": ("TNDRL_KEY", "--pki-key"),
    "pki.init": ("TNDRL_INIT_PKI", "--pki-init"),
    "stateDir": ("TNDRL_STATE_DIR", "--state-dir"),
}


@pytest.mark.parametrize("key", CONTRACT)
def test_contract(key):
    """The names of variables and flags are those that Go nodes have, and stay."""
    assert (SETTINGS[key].env, SETTINGS[key].flag) == CONTRACT[key]


def test_names_are_unique():
    """No two settings share a variable or a flag."""
    for names in ([s.env for s in SETTINGS.values()], [s.flag for s in SETTINGS.values()]):
        given = [name for name in names if name]
        assert len(given) == len(set(given))


def test_version_is_for_files():
    """The version of the format has neither variable nor flag."""
    assert (SETTINGS["version"].env, SETTINGS["version"].flag) == (None, None)


def test_types_and_limits():
    """A setting names its type and its bounds."""
    setting = SETTINGS["server.drainTimeout"]
    assert (setting.type, setting.limit, setting.default, setting.default_text) == (
        "seconds",
        "0 to 86,400",
        30.0,
        "`30`",
    )


def test_defaults_are_the_schemas():
    """Every default is what loading nothing gives."""
    config = load_config(env={})
    for key, setting in SETTINGS.items():
        value = config
        for part in key.split("."):
            names = {
                "".join(w if i == 0 else w.capitalize() for i, w in enumerate(n.split("_"))): n
                for n in value.__struct_fields__
            }
            value = getattr(value, names[part])
        assert value == setting.default
