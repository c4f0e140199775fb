"""Agents: the A2A services, their tasks and their callers."""
