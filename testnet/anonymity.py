"""The scene of anonymous payments: what everybody sees of them, and what their owners see. EXPERIMENTAL, classical."""

import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from apps.anonymous.messages import Close, Open
from apps.anonymous.records import account_id
from crypto.accounts import Closing
from crypto.errors import Reason
from crypto.ristretto import UNIFORM_SIZE
from node.anonymous.choosing import choose
from node.anonymous.index import AnonymousIndex
from node.anonymous.insisting import Manner, Outcome, pay
from node.anonymous.keys import anonymous_keys, encode_anonymous_address, random_scalar
from node.anonymous.paying import Paid, Wish, draft_anonymous, payment_fee, select_payer
from node.anonymous.search import AmountSearch
from node.api.methods import GetTransaction, QueryModule
from node.api.shapes import ReceiptView
from node.cli.anonymity import RemoteNode
from node.client import Client
from node.hidden.viewing import viewing_seed
from node.wallet import message
from state.transaction import AccountPayment, decode_transaction
from state.types import Amount, ChainId
from testnet.purse import Purse
from testnet.scenes import Company, nxs, shown
from testnet.stage import Stage

_PATIENCE: Final = 60.0
_CROWD: Final = 6
"""Accounts that each of the two opens."""


class AnonymousPurse:
    """A person's anonymous accounts, asked for at one node.

    Args:
        person: whose.
        chain_id: the chain.
        url: of the node.
    """

    def __init__(self, person: Purse, chain_id: ChainId, url: str) -> None:
        self.person = person
        self.index = AnonymousIndex(chain_id, anonymous_keys(viewing_seed(person.key)))
        self.search = AmountSearch()
        self._url = url

    @property
    def address(self) -> bytes:
        """The key to which this person is paid."""
        return self.index.keys.key()

    async def open(self, *amounts: int) -> ReceiptView:
        """Turn balance into accounts."""
        secret = self.index.keys.secret
        keys = [self.index.proofs.key(secret, random_scalar(secrets.token_bytes(UNIFORM_SIZE))) for _ in amounts]
        opened = [Open(Amount(amount), key) for amount, key in zip(amounts, keys, strict=True)]
        return await self.person.call(*(message("anonymous/open", one) for one in opened))

    async def pay(self, to: bytes, amount: int, tell: Callable[[str], None]) -> Outcome:
        """Pay an address, as often as it takes."""
        return await trio.to_thread.run_sync(partial(self._pay, to, amount, tell))

    def _pay(self, to: bytes, amount: int, tell: Callable[[str], None]) -> Outcome:
        with Client(self._url) as client:
            manner = Manner(secrets.token_bytes, self.search, lambda: None, tell)
            return pay(RemoteNode(client, lambda _text: None, _PATIENCE), self.index, Wish(Amount(amount), to), manner)

    async def draft(self, to: bytes, amount: int) -> Paid:
        """Prove a payment out of the account that would pay now, and do not send it."""
        return await trio.to_thread.run_sync(partial(self._draft, to, amount))

    def _draft(self, to: bytes, amount: int) -> Paid:
        with Client(self._url) as client:
            node = RemoteNode(client, lambda _text: None, _PATIENCE)
            found, point = node.accounts(), node.point()
            self.index.take(found, self.search)
            fee = payment_fee(point)
            payer = select_payer(self.index.own(), amount + fee)
            hiding = choose(found.encoded, (payer.account,), secrets.token_bytes)
            return draft_anonymous(
                point, self.index.keys, payer, hiding, Wish(Amount(amount), to), fee, secrets.token_bytes
            )

    async def amounts(self) -> list[Amount]:
        """Return what this person finds among all accounts, the richest first."""
        await trio.to_thread.run_sync(self._scan)
        return [own.amount for own in self.index.own()]

    def _scan(self) -> None:
        with Client(self._url) as client:
            self.index.take(RemoteNode(client, lambda _text: None, _PATIENCE).accounts(), self.search)

    async def close(self, amount: int) -> ReceiptView:
        """Turn the account that holds an amount into balance."""
        account = next(own.account for own in self.index.own() if own.amount == amount)
        closing = Closing(self.index.chain_id, account, self.person.address, amount)
        proof = self.index.proofs.prove_closing(closing, self.index.keys.secret, secrets.token_bytes(32))
        return await self.person.call(message("anonymous/close", Close(account_id(account), Amount(amount), proof)))


async def anonymous(stage: Stage, company: Company) -> None:
    """Open accounts, pay without telling who pays whom how much, get in each other's way, spend twice, close."""
    chain_id = (await company.alice.point()).chain_id
    alice = AnonymousPurse(company.alice, chain_id, company.clients[0].url)
    bob = AnonymousPurse(company.bob, chain_id, company.clients[1].url)
    stage.tell("experimental and classical: a quantum computer reads who paid whom, and takes the money")
    await alice.open(nxs(40), *[nxs(2)] * (_CROWD - 1))
    receipt = await bob.open(*[nxs(3)] * _CROWD)
    stage.done("both turn balance into anonymous accounts", f"block {receipt.height}; {await _held(company)}")
    text = encode_anonymous_address(bob.address)
    outcome = await alice.pay(bob.address, nxs(12.5), stage.tell)
    stage.done(f"alice pays {text[:16]}...", f"block {outcome.height}, fee {outcome.fee} unxs, signed by nobody")
    await observe(stage, company, outcome)
    kept = nxs(27.5) - outcome.fee
    good = kept in await alice.amounts() and nxs(12.5) in await bob.amounts()
    stage.check(good, "the owners see it", f"alice has {shown(Amount(kept))} left, bob an account with 12.5 nxs more")
    await compete(stage, alice, bob)
    first, second = await alice.draft(bob.address, nxs(1)), await alice.draft(bob.address, nxs(1))
    await company.alice.submit(first.signed.raw)
    await stage.refused(
        "alice spends one account twice", Reason.ACCOUNT_NOT_FOUND, company.alice.submit(second.signed.raw)
    )
    before = await company.bob.balance()
    await bob.amounts()
    receipt = await bob.close(nxs(12.5))
    gained = await company.bob.balance() - before + int(receipt.fee)
    stage.check(gained == nxs(12.5), "bob closes the account: 12.5 nxs are balance again", await _held(company))


async def observe(stage: Stage, company: Company, outcome: Outcome) -> None:
    """Show what a node tells everybody."""
    raw = (await company.clients[2].ask(GetTransaction(txid=outcome.txid.hex()))).raw
    seen = decode_transaction(raw)
    payload = seen.body.payload
    accounts, outputs = (payload.accounts, payload.outputs) if isinstance(payload, AccountPayment) else ((), ())
    for title, names in (("out of one of", accounts), ("there are now", tuple(map(account_id, outputs)))):
        stage.tell(f"{title}: {' '.join(name.hex()[:8] for name in names)}")
    good = (len(accounts), len(outputs), seen.signers) == (9, 10, ())
    stage.check(good, "an observer sees nine accounts in, ten out", f"{len(raw)} bytes; not which, nor how much")


async def compete(stage: Stage, alice: AnonymousPurse, bob: AnonymousPurse) -> None:
    """Pay at once: of so few accounts any two sets have some in common, so only one payment can be first."""
    outcomes: list[Outcome] = []

    async def one(payer: AnonymousPurse, to: bytes) -> None:
        outcomes.append(await payer.pay(to, nxs(1), lambda text: None))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, alice, bob.address)
        nursery.start_soon(one, bob, alice.address)
    attempts = [outcome.attempts for outcome in outcomes]
    why = "who came second proved again" if sum(attempts) > len(attempts) else "the first was in a block in time"
    stage.check(
        len(outcomes) == 2, "both pay at once, and hide among the same accounts",
        f"proven {' and '.join(map(str, attempts))} times: {why}",
    )


async def _held(company: Company) -> str:
    asked = QueryModule(name="anonymous/pools", parameters={"asset": "unxs"})
    return "all accounts hold " + shown(Amount(int((await company.clients[0].ask(asked)).value["accounts"])))
