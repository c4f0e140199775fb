"""Identities of nodes: certificates of the X509-SVID profile, issued, read and verified."""
