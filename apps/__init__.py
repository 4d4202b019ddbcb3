"""On-chain modules and the execution that dispatches to them."""
