"""EXPERIMENTAL, classical. A wallet for anonymous accounts and ring coins. Pure but for `reading`, which asks a node.

Accounts:

    keys.py       the secret behind all accounts of a wallet, and the keys and addresses to which it is paid
    reading.py    all accounts of the chain, page by page: a node is never told which of them are ours
    choosing.py   among whom a payment hides, and among whom it hides when it has to be proven again
    index.py      what a wallet found on the chain and what it did, in one sealed file
    paying.py     a payment, from amount and receiver to a transaction without signatures
    insisting.py  a payment that others got in the way of, proven again
"""
