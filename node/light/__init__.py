"""The light client: follows a chain by its headers, and believes no answer that it cannot check.

    roots.py       what the user trusts, and what follows from it
    source.py      nodes that are asked, none of them trusted
    client.py      the way from a trusted header to the newest one; witnesses that may contradict the primary
    store.py       trusted headers on disk
    proving.py     the API's own answers, over records whose proofs were checked
    answer.py      one answer with all that proves it, in one file
    checkpoint.py  a root of trust to hand on, in one file
    proxy.py       the API again, on this machine, with verified answers
"""
