"""A scene of the demo: a payment whose amount only the parties can read, what an observer sees of it, and forgeries."""

import secrets
from functools import partial
from typing import Final

import trio

from apps.confidential.messages import Publish
from apps.token.messages import Deposit, NewCoin
from crypto.address import encode_address
from crypto.confidential import Balance, Opening, default_proofs
from crypto.errors import Reason
from crypto.ristretto import ORDER
from node.api.methods import GetTransaction, QueryModule
from node.api.shapes import ReceiptView
from node.client import Client
from node.hidden.index import WalletIndex
from node.hidden.paying import Payment, Purse, Spendable, clear_coin, draft_hidden
from node.hidden.reading import scan
from node.hidden.viewing import (
    Direction,
    Viewer,
    ViewKeys,
    decode_view_key,
    encode_view_key,
    view_keys,
    viewing_seed,
)
from node.wallet import Account, Draft, body_of, message, sign_draft
from state.encoding import encode
from state.transaction import (
    NOTE_SIZE,
    HiddenCoin,
    Transfer,
    TransferProof,
    decode_transaction,
    sign_digest,
)
from state.types import NATIVE, Address, Amount
from testnet.purse import Purse as Person
from testnet.scenes import Company, nxs, shown
from testnet.stage import Stage

FORGED: Final = nxs(1_000_000)
"""What a forger would like to have."""
_FORGERS_FEE: Final = nxs(0.1)
_ENTROPY: Final = 32


class HiddenPurse:
    """A person's wallet for hidden coins.

    Args:
        person: whose.
        company: on which network.
    """

    def __init__(self, person: Person, company: Company) -> None:
        self.person = person
        self.keys: ViewKeys = view_keys(viewing_seed(person.key))
        self._url = company.clients[0].url

    async def index(self, viewer: Viewer | None = None) -> WalletIndex:
        """Return what this person, or who holds one of its view keys, finds on the chain."""
        point = await self.person.point()
        own = Viewer(point.chain_id, self.person.address, self.keys.incoming, self.keys.outgoing)
        index = WalletIndex(viewer or own)
        await trio.to_thread.run_sync(partial(_scan, self._url, self.person.address, index))
        return index

    async def coins(self) -> list[Spendable]:
        """Return this person's hidden coins."""
        found = (await self.index()).unspent()
        return [Spendable(one.outpoint, one.asset, one.opening, one.commitment) for one in found]

    async def account(self) -> Account:
        """Return the account as the chain knows it."""
        return (await self.person.account())[0]

    async def pay(self, payment: Payment, coins: list[Spendable]) -> tuple[ReceiptView, bytes]:
        """Pay out of these coins; return the receipt and the transaction."""
        purse = Purse(await self.account(), self.keys, coins)
        draft = draft_hidden(await self.person.point(), purse, [payment], secrets.token_bytes)
        signed = sign_draft(draft, {self.person.address: self.person.key})
        return await self.person.do(signed), signed.raw

    async def forgery(self, coin: Spendable, *, negative: bool) -> bytes:
        """Return a transfer that makes FORGED out of nothing, proven as well as a forger can.

        Args:
            coin: what is spent.
            negative: balance it by a second coin of -FORGED, for which there is no range proof; else do not balance it.
        """
        account, point = await self.account(), await self.person.point()
        amounts = [coin.opening.amount - _FORGERS_FEE + FORGED, *([ORDER - FORGED] if negative else [])]
        made = [Opening(amount, secrets.randbelow(ORDER)) for amount in amounts]
        proofs = default_proofs()
        outputs = tuple(HiddenCoin(NATIVE, account.address, proofs.commit(one), bytes(NOTE_SIZE)) for one in made)
        body = body_of(point, Transfer((coin.outpoint,), outputs), _FORGERS_FEE, None)
        context = sign_digest(encode(body))
        # What is signed for the lie without a negative coin is a balance that would hold if FORGED came in in clear.
        public = _FORGERS_FEE - (0 if negative else FORGED)
        balance = Balance(NATIVE, (coin.commitment,), tuple(one.commitment for one in outputs), public)
        excess = coin.opening.blinding - sum(one.blinding for one in made)
        signature = proofs.prove_excess(context, balance, excess, secrets.token_bytes(_ENTROPY))
        provable = [one._replace(amount=min(one.amount, FORGED)) for one in made] if negative else made
        ranges = proofs.prove_ranges(context, provable, secrets.token_bytes(_ENTROPY))
        draft = Draft(body, (account,), (TransferProof(ranges, (signature,)),))
        return sign_draft(draft, {account.address: self.person.key}).raw


def _scan(url: str, owner: Address, index: WalletIndex) -> None:
    with Client(url) as client:
        scan(client, owner, index)


async def private(stage: Stage, company: Company) -> None:
    """Pay in hidden coins; look at it as an observer, as the owner, as an auditor; and try to forge."""
    alice, bob = HiddenPurse(company.alice, company), HiddenPurse(company.bob, company)
    await company.alice.call(message("token/deposit", Deposit(NATIVE, (NewCoin(company.alice.address, nxs(40)),))))
    clear = [clear_coin(one.outpoint, one.coin) for one in await company.alice.coins()]
    to_herself = Payment(company.alice.address, NATIVE, nxs(39), alice.keys.receiving)
    receipt, _ = await alice.pay(to_herself, clear)
    stage.done("alice puts 40 nxs into hidden coins", f"block {receipt.height}; the pool of nxs {await pool(company)}")
    await company.bob.call(message("confidential/publish", Publish(bob.keys.receiving)))
    stage.done("bob publishes a receiving key", "ML-KEM-768 and X25519")
    asked = QueryModule(name="confidential/key", parameters={"address": company.bob.text})
    receiving = bytes.fromhex((await company.clients[1].ask(asked)).value["public_key"])
    payment = Payment(company.bob.address, NATIVE, nxs(12.5), receiving, "for the painting")
    receipt, raw = await alice.pay(payment, await alice.coins())
    stage.done("alice pays bob with hidden coins", f"block {receipt.height}, {len(raw)} bytes, fee {receipt.fee} unxs")
    await observe(stage, company, receipt.txid)
    await reveal(stage, alice, bob)
    coin = (await alice.coins())[0]
    for what, negative, reason in (
        ("alice makes a million out of nothing", False, Reason.BAD_EXCESS),
        ("and balances it by a coin of minus a million", True, Reason.BAD_RANGE_PROOF),
    ):
        forged = await alice.forgery(coin, negative=negative)
        await stage.refused(what, reason, company.alice.submit(forged))


async def observe(stage: Stage, company: Company, txid: str) -> None:
    """Show what a node tells everybody."""
    seen = decode_transaction((await company.clients[2].ask(GetTransaction(txid=txid))).raw)
    payload = seen.body.payload
    outputs = payload.outputs if isinstance(payload, Transfer) else ()
    hidden = [one for one in outputs if isinstance(one, HiddenCoin)]
    for place, one in enumerate(hidden):
        owner = encode_address(one.owner)
        stage.tell(f"coin {place}: owner {owner[:16]}..., amount unknown, commitment {one.commitment.hex()[:16]}...")
    stage.check(len(hidden) == len(outputs) == 2, "an observer sees who and how many coins, and no amount",
                f"the pool of nxs {await pool(company)}")


async def reveal(stage: Stage, alice: HiddenPurse, bob: HiddenPurse) -> None:
    """Show what the owner sees, and whoever got a view key."""
    [got] = [one for one in (await bob.index()).unspent() if one.text == "for the painting"]
    stage.check(got.amount == nxs(12.5), "bob's wallet opens its note", f"{shown(got.amount)}, {got.text!r}")
    chain_id = (await alice.person.point()).chain_id
    text = encode_view_key(alice.keys, Direction.OUTGOING, chain_id, alice.person.address)
    [entry] = [one for one in (await alice.index(decode_view_key(text))).history() if one.paid]
    [paid] = entry.paid
    told = f"{shown(paid.amount)} to {encode_address(paid.to)[:16]}..."
    stage.check(paid.amount == nxs(12.5), "an auditor with alice's outgoing view key sees what she paid", told)


async def pool(company: Company) -> str:
    """Return what is in hidden native coins, for people."""
    asked = QueryModule(name="confidential/pool", parameters={"asset": "unxs"})
    return "holds " + shown(Amount(int((await company.clients[0].ask(asked)).value["amount"])))
