"""A wallet for hidden coins: what it can see, what it remembers, how it pays. Pure; the command line gives it the rest.

    viewing.py   who can see what: view keys, and what they open
    invoice.py   how somebody asks for a payment
    index.py     what a wallet found on the chain, in one sealed file
    paying.py    selecting coins, making change, proving
    reading.py   from a node's API into the index
"""
