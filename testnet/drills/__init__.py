"""Disasters, rehearsed on real nodes: what an operator does, step by step, and what has to be true afterwards."""
