"""A wallet for hidden coins: what it can see, what it remembers, how it pays. Pure; the command line gives it the rest.

    viewing.py   who can see what: view keys, and what they open
    invoice.py   how somebody asks for a payment
    index.py     what a wallet found on the chain, in one sealed file
    paying.py    selecting coins, making change, proving
    reading.py   from a node's API into the index
    scripting.py    transactions that run a program: planned, proven
    expressions.py  bytes as people write them
    callfile.py     the file that says what a script transaction does
    contracting.py  from that file to a plan, with coins that pay for it
"""
