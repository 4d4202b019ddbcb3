"""Hidden coins through the cores of four validators: verified once by each; bad proofs are blamed on their sender."""

import secrets

import pytest
from msgspec.structs import replace

from apps.prooftask import ProofTask
from apps.token.messages import Deposit, NewCoin
from crypto.batch import Fault
from crypto.confidential import ConfidentialProofs
from crypto.errors import Reason, Refused
from node import signatures
from node.actions import Action, Disconnect
from node.hidden.index import Placed, WalletIndex
from node.hidden.paying import Payment, Purse, Spendable, clear_coin, draft_hidden
from node.hidden.viewing import Viewer, view_keys, viewing_seed
from node.wallet import Account, Signed, call, message, sign_draft
from p2p.network import Channel
from state.encoding import encode
from state.ledger import pool
from state.transaction import Coin, OutPoint, TransferProof, decode_transaction
from state.types import NATIVE, Address, Amount, Height
from tests.apps.hiding import shown
from tests.node.test_core import lab, settled, world
from tests.node.world import Machine, World

NXS = 1_000_000


@pytest.fixture
def made() -> World:
    return world()


def pay(made: World, coins: list[Spendable], amount: int) -> Signed:
    """The first wallet pays itself in hidden coins."""
    key = lab().wallet_keys[0]
    account, keys = Account(Address(key.address), key.public_key, registered=True), view_keys(viewing_seed(key))
    payment = Payment(account.address, NATIVE, Amount(amount), keys.receiving)
    draft = draft_hidden(made.point(), Purse(account, keys, coins), [payment], secrets.token_bytes)
    return sign_draft(draft, {account.address: key})


def deposited(made: World) -> list[Spendable]:
    """A clear coin of the first wallet."""
    coin = Coin(NATIVE, Address(lab().wallet_keys[0].address), Amount(30 * NXS))
    deposit = message("token/deposit", Deposit(NATIVE, (NewCoin(coin.owner, coin.amount),)))
    signed = call(made.point(), lab().account(0), lab().wallet_keys[0], 0, [deposit])
    made.submit(made.machines[0], [signed.raw])
    made.run(lambda: settled(made, 1))
    return [clear_coin(OutPoint(signed.txid, 0), coin)]


def found(signed: Signed) -> list[Spendable]:
    decoded = decode_transaction(signed.raw)
    keys, owner = view_keys(viewing_seed(lab().wallet_keys[0])), Address(lab().wallet_keys[0].address)
    index = WalletIndex(Viewer(decoded.body.chain_id, owner, keys.incoming))
    index.take(Placed(Height(1), 0, decoded))
    return [Spendable(one.outpoint, one.asset, one.opening, one.commitment) for one in index.unspent()]


def test_payments_are_proven_once_at_each_node(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[bytes] = []
    real = signatures.faults_of

    def count(tasks: list[ProofTask]) -> tuple[Fault, ...]:
        verified.extend(task.wtxid for task in tasks)
        return real(tasks)

    monkeypatch.setattr(signatures, "faults_of", count)
    first = pay(made, deposited(made), 10 * NXS)
    assert made.submit(made.machines[1], [first.raw]) == (first.txid,)
    made.run(lambda: settled(made, 3) and pool(made.machines[2].core.chain.store, NATIVE) > 0)
    second = pay(made, found(first), 3 * NXS)
    assert made.submit(made.machines[2], [second.raw]) == (second.txid,)
    held = pool(made.machines[2].core.chain.store, NATIVE)
    made.run(lambda: all(pool(one.core.chain.store, NATIVE) == held - second.fee for one in made.machines))
    assert len(verified) == 2 * len(made.machines)


def test_a_block_with_unseen_payments_is_verified_in_one_batch(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transactions do not travel, only what a proposal lacks does: proofs come with the block."""
    coins = deposited(made)
    made.drops = {Channel.TRANSACTIONS}
    batches: list[int] = []
    real = ConfidentialProofs.faults

    def count(self: ConfidentialProofs, claims: list[object], entropy: bytes) -> tuple[Fault, ...]:
        batches.append(len(claims))
        return real(self, claims, entropy)  # type: ignore[arg-type]

    monkeypatch.setattr(ConfidentialProofs, "faults", count)
    signed = pay(made, coins, 10 * NXS)
    made.submit(made.machines[1], [signed.raw])
    made.run(lambda: all(pool(one.core.chain.store, NATIVE) > 0 for one in made.machines))
    assert batches == [1] * len(made.machines)


@pytest.mark.parametrize(("part", "reason"), [
    ("ranges", Reason.BAD_RANGE_PROOF), ("excess", Reason.BAD_EXCESS), ("none", Reason.MISSING_PROOF),
])  # fmt: skip
def test_a_peer_that_passes_a_bad_proof_on_is_let_go(made: World, part: str, reason: Reason) -> None:
    coins = deposited(made)
    signed = pay(made, coins, 10 * NXS)
    transaction = decode_transaction(signed.raw).transaction
    other = shown(decode_transaction(pay(made, coins, 11 * NXS).raw))
    proof = shown(decode_transaction(signed.raw))
    spoilt: dict[str, tuple[TransferProof, ...]] = {
        "ranges": (replace(proof, ranges=other.ranges),), "excess": (replace(proof, excesses=other.excesses),),
        "none": (),
    }
    raw = encode(replace(transaction, proofs=spoilt[part]))
    gone: list[Reason] = []

    def listen(machine: Machine, action: Action) -> bool:
        if isinstance(action, Disconnect) and machine is made.machines[0]:
            gone.append(action.reason)
        return False

    made.on_action = listen
    made.receive(made.machines[0], made.machines[1], [raw])
    assert gone == [reason]
    [refused] = made.submit(made.machines[0], [raw])  # remembered: not verified again
    assert isinstance(refused, Refused) and refused.reason is reason
    assert made.submit(made.machines[0], [signed.raw]) == (signed.txid,)  # the good one is not blocked
