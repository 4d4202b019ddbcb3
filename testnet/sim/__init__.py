"""The whole-network simulator: production cores on a clock, a network and disks that are drawn from one seed.

    agenda.py      what happens when: a clock that jumps from event to event
    keys.py        keyed hashes behind the Signer and Verifier protocols, or real Falcon
    disk.py        a database and files that lose, tear or refuse what was not synced
    network.py     links that lose, delay, reorder and repeat, and that can be cut
    process.py     one life of a node process: carries out the core's actions as node/driver.py does
    machine.py     a computer: disk, clock, and one process after the other
    faults.py      what goes wrong and when: a plan that depends on the seed alone
    naming.py      node ids
    exchange.py    a request between two machines, and the answer
    liars.py       which machines lie
    genesis.py     the genesis of a run
    load.py        people who send transactions
    stakes.py      what they do with stake
    checks.py      what must never happen
    simulation.py  one run: faults first, then a healed network that must make progress
    report.py      what the runs showed
    cli.py         `nexus sim`
"""
