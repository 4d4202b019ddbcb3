"""Bytes between peers: the STOQ transport, framed streams, the validator mesh and its wire messages."""
