"""A genesis document out of the state of a chain: the way on when a chain has to begin anew.

What it says depends on the chain and the height alone, so that everybody who exports the same gets the same document
and can compare its hash. Its chain id is another one, and everything that is signed names a chain id: no transaction,
vote or proof of the old chain is of any use on the new one.
"""

from typing import Final

from apps.chain.records import params, validators_at
from apps.chain.upgrade import version_at
from apps.genesis import carried_records, init_genesis
from apps.staking.records import Operator, bonded, find_operator, power_of
from consensus.types import header_codec
from crypto.errors import Reason, Refused
from state.chainstore import ChainStore
from state.changes import Reader
from state.genesis import Genesis, GenesisValidator, genesis_hash
from state.types import Address, Height

MAX_NAME: Final = 64


def export_genesis(store: ChainStore, genesis: Genesis, height: Height, name: str = "") -> Genesis:
    """Return the genesis of a chain that takes over the state after a block.

    Args:
        store: the chain.
        genesis: its genesis.
        height: of the block.
        name: of the new chain; by default the old one's with the height.

    Raises:
        Refused: NOT_AVAILABLE if the state of that height is not kept, or nobody could vote on the new chain;
            BAD_ARGUMENT for a name that is too long, or that gives the old chain again; CORRUPT_DATABASE.
    """
    reader = store.reader_at(height)
    suffix = f"-{height}"
    document = Genesis(
        version=version_at(reader, height + 1),
        name=name or genesis.name[: MAX_NAME - len(suffix)] + suffix,
        time=header_codec.decode(store.header(height)).time if height else genesis.time,
        timing=genesis.timing, chain=params(reader), security=genesis.security,
        validators=_validators(reader, height, genesis),
        staking=genesis.staking, proofs=genesis.proofs,
        carried=carried_records(store.records_at(height), height),
    )
    if not 0 < len(document.name) <= MAX_NAME:
        raise Refused(Reason.BAD_ARGUMENT, f"the name of a chain has 1 to {MAX_NAME} characters")
    if genesis_hash(document) == genesis_hash(genesis):
        raise Refused(Reason.BAD_ARGUMENT, "the document would be that of the old chain: give the new one another name")
    init_genesis(document)
    return document


def _validators(reader: Reader, height: Height, genesis: Genesis) -> tuple[GenesisValidator, ...]:
    """Return the entries of those that were to vote next, with the key and the stake that they have by now.

    Stake and keys may have changed since their set was chosen; proofs count anew as given by everybody at genesis.
    """
    entries = []
    for one in validators_at(reader, height + 2).validators:
        found = find_operator(reader, one.operator)
        power = power_of(bonded(reader, one.operator))
        if found is not None and not found.jailed and not found.tombstoned and power:
            entries.append(_described(found, power, one.operator, genesis))
    if not entries:
        raise Refused(
            Reason.NOT_AVAILABLE,
            f"nobody who votes after block {height} could vote on a new chain: all are in jail, tombstoned or without "
            "stake; export an earlier height",
        )
    return tuple(entries)


def _described(found: Operator, power: int, operator: Address, genesis: Genesis) -> GenesisValidator:
    """Return the entry of a validator; its place is that of the old genesis, if its operator was there."""
    known = next((one for one in genesis.validators if one.operator == operator), None)
    return GenesisValidator(
        found.public_key, power, operator, found.moniker, known.node_address if known else "", found.commission
    )
