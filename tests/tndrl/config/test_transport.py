"""The settings of connections."""

import pytest

from tndrl.config import SETTINGS, LimitsConfig, TransportConfig
from tndrl.errors import ConfigError


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: TransportConfig(max_datagram=1199),
        lambda: TransportConfig(max_datagram=16384),
        lambda: LimitsConfig(half_open=0),
        lambda: LimitsConfig(packets_per_key=2**23),
    ],
)
def test_bounds(wrong):
    """What RFCs and the engine rule out cannot be configured."""
    with pytest.raises(ConfigError, match="out of bounds"):
        wrong()


def test_limits_have_no_flags():
    """Limits stand in a file or a variable, never in a command's help."""
    limits = [setting for key, setting in SETTINGS.items() if key.startswith("limits.")]
    assert limits
    assert all(setting.flag is None and setting.env for setting in limits)
