"""Every reliance on aioquic's private names, one file per concern, each guarded by tests."""
