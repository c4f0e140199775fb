"""The Control service: is the node there, how is it, stop it."""
