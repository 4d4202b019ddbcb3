"""Tendermint BFT (arXiv 1807.04938) as a pure state machine: votes, rounds, commits, evidence, light verification."""
