"""Model providers: what answers a prompt."""
