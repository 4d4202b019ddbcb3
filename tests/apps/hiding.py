"""Transfers with hidden coins in the world of the tests: openings are kept beside the coins, proofs are real."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from apps.hidden import note_info
from crypto.confidential import Balance, Opening, default_proofs
from crypto.hashing import Label, digest
from crypto.ristretto import ORDER
from state.encoding import encode
from state.transaction import (
    NOTE_SIZE,
    Body,
    Coin,
    Decoded,
    HiddenCoin,
    OutPoint,
    Output,
    Transfer,
    TransferProof,
    assemble,
    decode_transaction,
    sign_digest,
)
from state.types import NATIVE, Amount, AssetId
from tests.apps.world import FEE, World, address


@dataclass
class Vault:
    """Makes hidden coins, and knows what is in each."""

    world: World
    openings: dict[bytes, Opening] = field(default_factory=dict)
    """By commitment."""
    count: int = 0

    def hidden(self, owner: str, amount: int, asset: AssetId = NATIVE) -> HiddenCoin:
        """Return a new hidden coin; its note says nothing."""
        self.count += 1
        blinding = int.from_bytes(digest(Label.KEY_DERIVE, self.count.to_bytes(8, "big")), "little") % ORDER
        opening = Opening(amount, blinding)
        commitment = default_proofs().commit(opening)
        self.openings[commitment] = opening
        return HiddenCoin(asset, address(owner), commitment, bytes(NOTE_SIZE))

    def balances(
        self, spent: Sequence[Output], made: Sequence[Output], fee: int = FEE
    ) -> tuple[tuple[Balance, ...], tuple[int, ...]]:
        """Return what has to be shown, and the blinding of each excess."""
        assets = sorted({one.asset for one in (*spent, *made) if isinstance(one, HiddenCoin)})
        balances, excesses = [], []
        for asset in assets:
            before, after = commitments(spent, asset), commitments(made, asset)
            public = clear(made, asset) - clear(spent, asset) + (fee if asset == NATIVE else 0)
            balances.append(Balance(asset, before, after, public))
            blindings = [sum(self.openings[one].blinding for one in side) for side in (before, after)]
            excesses.append((blindings[0] - blindings[1]) % ORDER)
        return tuple(balances), tuple(excesses)

    def prove(self, body: Body, spent: Sequence[Output], made: Sequence[Output], **changes: Any) -> TransferProof:
        """Return the proofs of a body; amounts that do not balance are proven as if the public rest made up for it."""
        context = sign_digest(encode(body))
        proofs = default_proofs()
        openings = [self.openings[one.commitment] for one in made if isinstance(one, HiddenCoin)]
        balances, excesses = self.balances(spent, made, body.fee)
        signatures = tuple(
            proofs.prove_excess(context, self._balanced(balance), excess, bytes([7]) * 32)
            for balance, excess in zip(balances, excesses, strict=True)
        )
        proof = TransferProof(proofs.prove_ranges(context, openings, bytes([8]) * 32), signatures)
        return replace(proof, **changes)

    def _balanced(self, balance: Balance) -> Balance:
        held = [sum(self.openings[one].amount for one in side) for side in (balance.spent, balance.made)]
        return balance._replace(public=held[0] - held[1])

    def transfer(
        self, owners: Sequence[str], inputs: Sequence[tuple[OutPoint, Output]], made: Sequence[Output], **changes: Any
    ) -> Decoded:
        """Return a transfer with its proofs; `changes` go into its body."""
        payload = Transfer(tuple(outpoint for outpoint, _ in inputs), tuple(made))
        plain = self.world.sign(payload, sorted(set(owners), key=address), **changes)
        proof = self.prove(plain.body, [output for _, output in inputs], made)
        return decode_transaction(assemble(plain.body, plain.transaction.witnesses, (proof,)))

    def enter(self, owner: str, amount: int, *parts: int) -> list[tuple[OutPoint, Output]]:
        """Turn a clear coin of `amount` into hidden coins of these amounts; what is left is the fee."""
        coin = (self.world.coin(owner, amount), Coin(NATIVE, address(owner), Amount(amount)))
        made = [self.hidden(owner, part) for part in parts]
        decoded = self.transfer([owner], [coin], made, fee=amount - sum(parts))
        self.world.block(decoded)
        return [(OutPoint(decoded.txid, index), output) for index, output in enumerate(made)]


def shown(decoded: Decoded) -> TransferProof:
    """Return what a transaction shows of its hidden amounts."""
    assert decoded.shown is not None
    return decoded.shown


def commitments(outputs: Sequence[Output], asset: AssetId) -> tuple[bytes, ...]:
    """Return the commitments of the hidden coins of an asset."""
    return tuple(one.commitment for one in outputs if isinstance(one, HiddenCoin) and one.asset == asset)


def clear(outputs: Sequence[Output], asset: AssetId) -> int:
    """Return the sum of the clear coins of an asset."""
    return sum(one.amount for one in outputs if isinstance(one, Coin) and one.asset == asset)


__all__ = ["Vault", "clear", "commitments", "note_info", "shown"]
