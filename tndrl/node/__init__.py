"""A running node, and the way to call one."""
