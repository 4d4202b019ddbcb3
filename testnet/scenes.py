"""The scenes of the demo. Each stands alone: it makes what it needs, on a network that is up with two wallets."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from apps.token.messages import Approve, Deposit, Issue, NewCoin, Transfer, TransferFrom, Withdraw
from crypto.errors import Reason
from node.api.methods import GetAsset, GetBlock, GetStatus
from node.client import AsyncClient
from node.wallet import message
from state.encoding import encode
from state.records import asset_id
from state.transaction import Body, Coin, Transaction, body_codec, transaction_codec
from state.types import NATIVE, UNXS_PER_NXS, Amount
from testnet.network import LocalNetwork
from testnet.purse import Purse
from testnet.stage import Stage


@dataclass(frozen=True, slots=True)
class Company:
    """Who and what takes part. `clients` are in the order of the network's members."""

    network: LocalNetwork
    clients: tuple[AsyncClient, ...]
    alice: Purse
    bob: Purse


def nxs(amount: float) -> Amount:
    """Return an amount of NXS in unxs."""
    return Amount(round(amount * UNXS_PER_NXS))


def shown(amount: int) -> str:
    """Return unxs as people write them."""
    return f"{amount / UNXS_PER_NXS:,.6f}".rstrip("0").rstrip(".") + " nxs"


async def accounts(stage: Stage, company: Company) -> None:
    """Pay from account to account, and look at it through every node."""
    alice, bob = company.alice, company.bob
    before = await bob.balance()
    receipt = await alice.call(message("token/transfer", Transfer(NATIVE, bob.address, nxs(25))))
    stage.done("alice pays bob 25 nxs", f"final in block {receipt.height}, fee {receipt.fee} unxs")
    stage.check(await bob.balance() == before + nxs(25), "bob has 25 nxs more", shown(await bob.balance()))
    receipt = await bob.call(
        message("token/transfer", Transfer(NATIVE, alice.address, nxs(5))),
        message("token/transfer", Transfer(NATIVE, alice.address, nxs(2.5))),
    )
    stage.done("bob pays back in two messages, all or none", f"{receipt.gas_used} gas, {len(receipt.events)} events")
    headers = [(await client.ask(GetBlock(height=str(receipt.height)))).header for client in company.clients]
    same = len({header.block_id for header in headers}) == 1
    stage.check(same, "every node has the same block", headers[0].block_id[:16])


async def coins(stage: Stage, company: Company) -> None:
    """Turn balance into coins, pay with a coin, turn it back."""
    alice, bob = company.alice, company.bob
    made = (NewCoin(alice.address, nxs(60)), NewCoin(alice.address, nxs(40)))
    receipt = await alice.call(message("token/deposit", Deposit(NATIVE, made)))
    stage.done("alice deposits 100 nxs into two coins", f"block {receipt.height}")
    signed = await alice.signed_transfer(await alice.coins(), [Coin(NATIVE, bob.address, nxs(30))])
    receipt = await alice.do(signed)
    stage.done("alice pays bob with a coin of 30 nxs", f"block {receipt.height}, fee {receipt.fee} unxs")
    found = [coin for coin in await bob.coins() if coin.outpoint.txid == signed.txid]
    good = len(found) == 1 and found[0].coin.amount == nxs(30)
    stage.check(good, "bob holds the coin", f"{signed.txid.hex()[:16]}:0")
    before = await bob.balance()
    receipt = await bob.call(message("token/withdraw", Withdraw((found[0].outpoint,))))
    gained = await bob.balance() - before + int(receipt.fee)
    stage.check(gained == nxs(30), "bob withdraws it to his account", f"{shown(gained)} less the fee")


async def token(stage: Stage, company: Company) -> None:
    """Issue a token, let somebody take some of it, and no more than that."""
    alice, bob = company.alice, company.bob
    symbol = f"gold{(await company.clients[0].ask(GetStatus())).height}"
    gold = asset_id(alice.address, symbol)
    issue = Issue(symbol, 2, Amount(100_000), True, True, False)
    await alice.call(message("token/issue", issue))
    view = await company.clients[0].ask(GetAsset(asset=gold.hex()))
    good = view.symbol == symbol and int(view.supply) == 100_000
    stage.check(good, f"alice issues 1,000.00 {symbol}", f"asset {gold.hex()[:16]}, supply {view.supply}")
    await alice.call(message("token/approve", Approve(gold, bob.address, Amount(30_000))))
    stage.done("alice lets bob take up to 300.00", "allowance 30000")
    await bob.call(message("token/transfer_from", TransferFrom(gold, alice.address, bob.address, Amount(20_000))))
    held = (await alice.balance(gold), await bob.balance(gold))
    stage.check(held == (80_000, 20_000), "bob takes 200.00", f"alice {held[0]}, bob {held[1]}")
    again = TransferFrom(gold, alice.address, bob.address, Amount(10_001))
    await stage.refused(
        "bob takes 100.01 more", Reason.INSUFFICIENT_ALLOWANCE, bob.call(message("token/transfer_from", again))
    )


async def refusals(stage: Stage, company: Company) -> None:
    """Everything that must not pass, each refused by its own name."""
    alice, bob = company.alice, company.bob
    await alice.call(message("token/deposit", Deposit(NATIVE, (NewCoin(alice.address, nxs(10)),))))
    coin = (await alice.coins())[:1]
    to_bob = await alice.signed_transfer(coin, [Coin(NATIVE, bob.address, nxs(1))])
    to_herself = await alice.signed_transfer(coin, [Coin(NATIVE, alice.address, nxs(1))])
    await alice.submit(to_bob.raw, wait="accepted")
    await stage.refused(
        "alice spends one coin twice, at once", Reason.CONFLICT, alice.submit(to_herself.raw, wait="accepted")
    )
    await alice.call(message("token/transfer", Transfer(NATIVE, bob.address, Amount(1))))
    await stage.refused(
        "alice spends the coin again later", Reason.OUTPUT_NOT_FOUND, alice.submit(to_herself.raw, wait="accepted")
    )
    payment = await alice.signed_call(message("token/transfer", Transfer(NATIVE, bob.address, nxs(1))))
    await stage.refused(
        "a bit of a signature is flipped", Reason.BAD_SIGNATURE, alice.submit(_with_bad_signature(payment.raw))
    )
    await stage.refused(
        "the fee is changed after signing", Reason.BAD_SIGNATURE, alice.submit(_with_other_fee(payment.raw))
    )
    overdraft = Transfer(NATIVE, bob.address, Amount(await alice.balance() * 2))
    await stage.refused(
        "alice pays twice what she has", Reason.INSUFFICIENT_FUNDS, alice.call(message("token/transfer", overdraft))
    )
    await alice.do(await alice.signed_call(message("token/transfer", Transfer(NATIVE, bob.address, nxs(1)))))
    await stage.refused("a used nonce comes again", Reason.NONCE_TOO_LOW, alice.submit(payment.raw))
    await stage.refused("bytes that are no transaction", Reason.MALFORMED, alice.submit(b"\x93\x01\x02\x03"))
    longer = _with_long_header(payment.raw)
    await stage.refused("the same value in other bytes", Reason.NOT_CANONICAL, alice.submit(longer))
    foreign = replace(body_codec.decode(transaction_codec.decode(payment.raw).body), chain_id=b"\x00" * 32)
    await stage.refused(
        "a payment for another chain", Reason.WRONG_CHAIN, alice.submit(_with_body(payment.raw, foreign))
    )


def _with_bad_signature(raw: bytes) -> bytes:
    transaction = transaction_codec.decode(raw)
    [witness] = transaction.witnesses
    broken = bytearray(witness.signature)
    broken[600] ^= 1
    return encode(Transaction(transaction.body, (replace(witness, signature=bytes(broken)),)))


def _with_other_fee(raw: bytes) -> bytes:
    body = body_codec.decode(transaction_codec.decode(raw).body)
    return _with_body(raw, replace(body, fee=Amount(body.fee + 1)))


def _with_long_header(raw: bytes) -> bytes:
    """Write the length of the body in four bytes where fewer do: MessagePack allows it, the protocol does not."""
    body = transaction_codec.decode(raw).body
    end = raw.index(body) + len(body)
    return raw[:1] + b"\xc6" + len(body).to_bytes(4, "big") + body + raw[end:]


def _with_body(raw: bytes, body: Body) -> bytes:
    return encode(Transaction(encode(body), transaction_codec.decode(raw).witnesses))


Scene = Callable[[Stage, Company], Awaitable[None]]
SCENES: Final[Mapping[str, tuple[str, Scene]]] = MappingProxyType({
    "accounts": ("Payments between accounts", accounts),
    "coins": ("Deposit, a coin payment, withdraw", coins),
    "token": ("A token of one's own", token),
    "refusals": ("What is refused, and by what name", refusals),
})
