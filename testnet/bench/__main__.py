"""`python -m testnet.bench NAME`: the same as `nexus bench NAME`."""

from testnet.bench.cli import app

app()
