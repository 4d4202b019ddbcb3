"""Gives away a testnet's worthless money: over HTTP, a little to everybody, from a process of its own."""
