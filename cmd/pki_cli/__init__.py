"""The command ``tndrl-pki``."""
