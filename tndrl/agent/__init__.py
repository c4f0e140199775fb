"""The agent of a node: A2A 1.0 and 0.3 on stream 0x02. Nothing else imports the A2A SDK."""

from __future__ import annotations

import os

os.environ.setdefault(
    "OTEL_INSTRUMENTATION_A2A_SDK_ENABLED", "false"
)  # 72 spans for an answer of three chunks
