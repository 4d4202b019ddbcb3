"""Long chains in minutes: a testnet whose validators have been at it for thousands of blocks, as it seems.

Everything is made by the production code: the genesis, every block as its proposer builds and executes it, the commit
with the signatures of all validators, the store. Left out is what takes the time of a real network: peers, votes,
waiting for the clock. Transactions are signed by other processes while blocks are built; a commit names the block, and
the next block the commit, so the commits of one validator take their time each, one after the other.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from consensus.commit import make_commit
from consensus.proposer import proposer_of
from consensus.signing import KeySigner
from consensus.types import Commit, Header, Tip, Vote, VoteKind, vote_sign_bytes
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from crypto.schemes import expected_signature_size
from node.chain import Chain, open_chain
from node.home import Home
from node.keystore import CONSENSUS_KEY, load_node_key
from node.last_sign import encode_state, new_state, sign_document, state_after
from node.node import load_genesis
from state.chainstore import ChainOptions
from state.leveldb import LevelDB, LevelDBSnapshot
from state.store import Write
from state.transaction import Body, Decoded, Witness, assemble, decode_transaction
from state.types import Address, ChainId, Round
from testnet.create import PLAIN, Rules, create_network
from testnet.senders import SENDERS, SPLIT, Terms, Unsigned, load_senders, sign_part, signing_pool
from testnet.traffic import Traffic

INTERVAL: Final = 1000
"""ms from one block to the next, by the blocks' own times."""
SPLITS: Final = 40
"""Transactions in a block that makes outputs: 9,600 outputs."""
BATCH_BLOCKS: Final = 200
"""Blocks whose transactions are signed together, at most: their anchor has to stay recent ..."""
BATCH_TRANSACTIONS: Final = 1000
"""... and they wait in memory."""
Progress = Callable[[int, str], None]
"""Is told the height, and what is going on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to forge.

    Attributes:
        blocks: how many.
        validators: who sign each of them.
        payments: in each block that is left when the outputs are made.
        outputs: unspent ones that the first blocks make, besides those of the genesis.
        signed: make real signatures. Without them a node serves the chain, and no other node takes it over.
        interval: ms between blocks; the last one is of the present moment.
        archive: keep what it takes to answer for the state of every height.
        rules: parameters of the chain.
    """

    blocks: int
    validators: int = 1
    payments: int = 0
    outputs: int = 0
    signed: bool = True
    interval: int = INTERVAL
    archive: bool = False
    rules: Rules = field(default_factory=lambda: PLAIN)

    @property
    def splits(self) -> int:
        """Transactions that make the outputs."""
        return -(-self.outputs // SPLIT)

    @property
    def split_blocks(self) -> int:
        """Blocks that hold them."""
        return -(-self.splits // SPLITS)


class Forged(msgspec.Struct, frozen=True):
    """What came out. `seconds` is how long it took."""

    chain_id: str
    height: int
    block_id: str
    state_root: str
    outputs: int
    transactions: int
    seconds: float


def forge(root: Path, plan: Plan, progress: Progress = lambda _height, _what: None) -> Forged:
    """Make a testnet in an empty folder, whose nodes all have the chain of a plan and do not run yet.

    `LocalNetwork(root).start_all()` goes on with it, and `testnet.create.add_node` adds one that has nothing yet.

    Args:
        root: the testnet's folder; made if it is missing.
        plan: what to forge.
        progress: is told about every block.

    Raises:
        Refused: HOME_EXISTS; USAGE if the outputs do not fit into the blocks; INSUFFICIENT_FUNDS.
    """
    if plan.split_blocks > plan.blocks:
        raise Refused(Reason.USAGE, f"{plan.outputs} outputs take {plan.split_blocks} blocks: forge at least as many")
    began = time.monotonic()
    progress(0, "making keys")
    manifest = create_network(
        root, plan.validators, SENDERS, plan.rules, time.time_ns() // 1_000_000 - plan.blocks * plan.interval
    )
    homes = [Home(root / member.name) for member in manifest.members]
    keys = [load_node_key(home.keys / f"{CONSENSUS_KEY}.json", None) for home in homes]
    senders = load_senders(root / "senders", SENDERS)
    store = LevelDB.open(homes[0].chain)
    with ExitStack() as stack:
        stack.callback(store.close)
        pool = stack.enter_context(signing_pool(senders, os.cpu_count() or 1)) if _has_work(plan) else None
        threads = stack.enter_context(ThreadPoolExecutor(min(len(keys), os.cpu_count() or 1)))
        chain = open_chain(_Unsynced(store), load_genesis(homes[0]), ChainOptions(archive=plan.archive))
        smithy = _Smithy(chain, plan, keys, threads)
        made = 0
        for raws in _transactions(chain, plan, senders, pool):
            smithy.block(raws)
            made += len(raws)
            progress(chain.height, "forging")
        store.write([], sync=True)
        tip, outputs = chain.tip, chain.store.output_counts.coins
    progress(tip.height, "copying")
    for home, key in zip(homes, keys, strict=True):
        if home is not homes[0]:
            shutil.copytree(homes[0].chain, home.chain)
        _remember(home, Address(key.address), tip, smithy.votes)
    return Forged(
        chain_id=manifest.chain_id, height=tip.height, block_id=tip.block_id.hex(), state_root=tip.state_root.hex(),
        outputs=outputs, transactions=made, seconds=round(time.monotonic() - began, 1),
    )


def _has_work(plan: Plan) -> bool:
    return plan.signed and bool(plan.payments or plan.outputs)


class _Unsynced:
    """A store that leaves it to the system when it writes: a forged chain that a power cut spoils is forged again."""

    def __init__(self, store: LevelDB) -> None:
        self.get = store.get
        self.scan = store.scan
        self.close = store.close
        self._store = store

    def write(self, batch: Sequence[Write], *, sync: bool = True) -> None:
        """Apply the whole batch or nothing of it."""
        self._store.write(batch, sync=False)

    def snapshot(self) -> LevelDBSnapshot:
        """Return the present state as a view that stays as it is."""
        return self._store.snapshot()


class _Smithy:
    """Builds, signs and commits one block after the other, as validators do who are never late."""

    def __init__(self, chain: Chain, plan: Plan, keys: Sequence[SecretKey], threads: ThreadPoolExecutor) -> None:
        self.votes: list[Vote] = []
        """Of the last block, in the order of the validators."""
        self._chain = chain
        self._plan = plan
        self._signers = {Address(key.address): KeySigner(key) for key in keys}
        self._threads = threads

    def block(self, raws: Sequence[bytes]) -> None:
        """Append a block with these transactions. Raises Refused(INTERNAL) if one of them does not fit in."""
        chain, tip = self._chain, self._chain.tip
        proposer = tip.validators.validators[proposer_of(tip.validators, tip.priorities, 0)].address
        candidates = [decode_transaction(raw) for raw in raws]
        time = chain.genesis.time + (tip.height + 1) * self._plan.interval
        executed, selection = chain.build(time, proposer, tip.commit, (), candidates, _known)
        if len(selection.transactions) != len(candidates):
            why = selection.skipped[0].refused if selection.skipped else "the block is full"
            raise Refused(Reason.INTERNAL, f"a forged transaction does not fit into block {tip.height + 1}: {why}")
        chain.commit(executed, self._commit(executed.block.header, tip))

    def _commit(self, header: Header, tip: Tip) -> Commit:
        message = vote_sign_bytes(header.chain_id, VoteKind.PRECOMMIT, header.height, Round(0), header.block_id)

        def vote(index: int) -> Vote:
            validator = tip.validators.validators[index]
            if self._plan.signed:
                signature = self._signers[validator.address].sign(message)
            else:
                signature = bytes(expected_signature_size(validator.public_key))
            return Vote(VoteKind.PRECOMMIT, header.height, Round(0), header.block_id, index, signature)

        self.votes = list(self._threads.map(vote, range(len(tip.validators))))
        return make_commit(header.height, Round(0), header.block_id, self.votes)


def _known(_decoded: Decoded, _keys: tuple[bytes, ...]) -> bool:
    """Whoever made the signatures knows that they hold."""
    return True


def _transactions(
    chain: Chain, plan: Plan, senders: Sequence[SecretKey], pool: ProcessPoolExecutor | None
) -> Iterator[list[bytes]]:
    """Yield the wire bytes of block after block; the ones of the next batch are signed meanwhile."""
    traffic = Traffic(chain.genesis, chain.tip.chain_id, senders)
    sizes = _sizes(plan)
    left = plan.outputs
    batch: list[Future[list[bytes]] | list[bytes]] = []
    while True:
        terms = _terms(chain)
        following: list[Future[list[bytes]] | list[bytes]] = []
        count = 0
        while len(following) < BATCH_BLOCKS and count < BATCH_TRANSACTIONS and (size := next(sizes, None)) is not None:
            unsigned = []
            for _ in range(size):
                unsigned.append(traffic.split(terms, left) if left else traffic.payment(terms))
                left = max(0, left - SPLIT)
            following.append(_signed(unsigned, senders, pool))
            count += size
        for raws in batch:
            yield raws if isinstance(raws, list) else raws.result()
        if not following:
            return
        batch = following


def _sizes(plan: Plan) -> Iterator[int]:
    """Yield how many transactions each block holds."""
    for number in range(plan.blocks):
        splits = min(SPLITS, plan.splits - number * SPLITS)
        yield splits if splits > 0 else plan.payments


def _terms(chain: Chain) -> Terms:
    tip, rules = chain.tip, chain.view.params
    return Terms(
        ChainId(tip.chain_id), tip.block_id, tip.height + rules.expiry_window, max(1, rules.min_gas_price), tip.version
    )


def _signed(
    unsigned: list[Unsigned], senders: Sequence[SecretKey], pool: ProcessPoolExecutor | None
) -> Future[list[bytes]] | list[bytes]:
    if pool is not None and unsigned:
        return pool.submit(sign_part, unsigned)
    return [_pretended(one, senders[one.sender]) for one in unsigned]


def _pretended(one: Unsigned, sender: SecretKey) -> bytes:
    """Return a transaction with zeros in place of its signature."""
    key = sender.public_key
    signature = bytes(expected_signature_size(key))
    body = msgspec.msgpack.decode(one.body, type=Body)
    return assemble(body, (Witness(Address(sender.address), key if one.reveal else b"", signature),))


def _remember(home: Home, key: Address, tip: Tip, votes: Sequence[Vote]) -> None:
    """Write what a validator's key signed last, as if it had voted itself."""
    state = new_state(key, tip.chain_id, tip.height - 1)
    for vote in votes:
        if tip.previous_validators.validators[vote.validator].address == key:
            state = state_after(state, vote)
    sign_document(home.sign_state).replace(encode_state(state))

