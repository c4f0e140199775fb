"""Agents: the A2A services, their tasks and their callers."""

import os

# The SDK would make a dozen spans per event; it reads this when it is first imported.
os.environ.setdefault("OTEL_INSTRUMENTATION_A2A_SDK_ENABLED", "false")
