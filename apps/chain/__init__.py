"""Parameters, recent block ids, validator sets and fees: what the validity of a block depends on."""
