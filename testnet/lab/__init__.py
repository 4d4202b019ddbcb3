"""The testnet as a laboratory: networks described in TOML, run with faults, judged from outside."""
