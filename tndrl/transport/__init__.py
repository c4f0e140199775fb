"""gRPC over typed streams of mutually authenticated QUIC connections."""
