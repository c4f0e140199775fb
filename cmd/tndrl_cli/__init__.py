"""The command ``tndrl``."""
