"""Measurements, each a module that prints JSON lines: `python -m testnet.bench NAME`, or `nexus bench NAME`."""
