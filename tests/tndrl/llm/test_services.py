"""Where models are and whose key goes there."""

from __future__ import annotations

import pytest

from tndrl.config import LlmConfig
from tndrl.errors import ConfigError
from tndrl.llm.services import SERVICES, place


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for service in SERVICES.values():
        monkeypatch.delenv(service.variable, raising=False)


def test_ollama_needs_nothing():
    """It runs on this host unless told otherwise."""
    there = place(LlmConfig(), "ollama", "llama3.2")
    assert (there.url, there.model, there.key) == ("http://localhost:11434/v1", "llama3.2", "")


def test_the_url_can_be_set():
    """A slash at its end changes nothing."""
    assert place(LlmConfig(url="http://gpu:8080/v1/"), "ollama", "m").url == "http://gpu:8080/v1"


@pytest.mark.parametrize("service", ["openai", "anthropic", "google"])
def test_a_public_service_needs_its_key(service, monkeypatch):
    """The error names the variable that is to hold it."""
    variable = SERVICES[service].variable
    with pytest.raises(ConfigError, match=f"needs a key; set the variable {variable}"):
        place(LlmConfig(), service, "m")
    monkeypatch.setenv(variable, "k")
    assert place(LlmConfig(), service, "m").key == "k"


def test_a_server_of_ones_own_needs_no_key():
    """Whether it does is for it to say."""
    assert place(LlmConfig(url="http://gpu/v1"), "openai", "m").key == ""


def test_one_service_never_gets_the_key_of_another(monkeypatch):
    """Whatever else the environment holds."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert place(LlmConfig(), "ollama", "m").key == ""


def test_an_unknown_service_is_refused():
    """The error says which there are."""
    with pytest.raises(ConfigError, match="there are ollama, openai, anthropic, google") as caught:
        place(LlmConfig(), "vertex", "m")
    assert caught.value.key == "llm.model"


def test_its_repr_keeps_the_key(monkeypatch):
    """Nor does it show the URL, which may hold one."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert repr(place(LlmConfig(url="http://u:pw@x/v1"), "openai", "gpt")) == "ModelPlace(openai:gpt)"
