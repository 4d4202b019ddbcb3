"""EXPERIMENTAL, classical. A wallet for anonymous accounts and ring coins. Pure but for the readings, which ask a node.

Accounts:

    keys.py       the secret behind all accounts of a wallet, and the keys and addresses to which it is paid
    reading.py    all accounts of the chain, page by page: a node is never told which of them are ours
    choosing.py   among whom a payment hides, and among whom it hides when it has to be proven again
    index.py      what a wallet found on the chain and what it did, in one sealed file
    paying.py     a payment, from amount and receiver to a transaction without signatures
    insisting.py  a payment that others got in the way of, proven again

Ring coins:

    ringkeys.py     the secrets behind a wallet's ring coins, its address, finding what is its own
    ringsets.py     among whom a coin hides: sets that follow from the chain alone
    ringindex.py    all coins of the chain, which are the wallet's, and what it sent, in one sealed file
    ringreading.py  all coins and images of the chain, page by page
    ringpaying.py   a payment, from amounts and addresses to a transaction with its proofs
"""
