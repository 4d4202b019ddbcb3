"""Attacks on a network: gossip under sybils on simulated time, and one real node under floods and garbage."""
