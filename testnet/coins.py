"""Gives every sender of a load enough coins of its own, before the load begins."""

from collections.abc import Callable, Sequence
from typing import Final

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.api.methods import GetAccount, GetOutputs, GetParams, GetStatus
from node.client import Client
from state.records import NATIVE_TEXT
from state.transaction import OutPoint
from state.types import Address, ChainId, TxId
from testnet.senders import PIECE, SPLIT, SpendableCoin, Terms, Unsigned, pieces_of, sign_all, split_body

_PAGE: Final = 1000
_BATCH: Final = 40
"""Splitting transactions in one submission: 20 kB each."""
_SMALLEST: Final = 50_000
"""unxs that a coin must hold to pay its share of a fee."""


def terms_now(client: Client) -> Terms:
    """Return what bodies made now have to carry. Raises Refused if the node does not answer."""
    status, params = client.ask(GetStatus()), client.ask(GetParams())
    window, price = int(params.chain["expiry_window"]), int(params.chain["min_gas_price"])
    chain_id = ChainId(bytes.fromhex(status.chain_id))
    anchor, expiry = bytes.fromhex(status.block_id), int(status.height) + window
    return Terms(chain_id, anchor, expiry, max(1, price), status.protocol_version, status.difficulty)


def prepare_coins(
    client: Client, senders: Sequence[SecretKey], each: int, workers: int, progress: Callable[[str], None]
) -> list[list[SpendableCoin]]:
    """Return at least `each` coins of every sender, splitting large ones where there are too few.

    Args:
        client: asks one node.
        senders: the keys.
        each: how many coins.
        workers: processes that sign.
        progress: told what is going on.

    Raises:
        Refused: INSUFFICIENT_FUNDS if the large coins do not suffice; what the node refused.
    """
    progress("looking for coins")
    owned = [_coins_of(client, key, each) for key in senders]
    terms = terms_now(client)
    splits: list[Unsigned] = []
    for index, key in enumerate(senders):
        unknown = not client.ask(GetAccount(address=encode_address(key.address))).public_key
        owned[index], new = _split_enough(terms, index, key, owned[index], each, unknown)
        splits += new
    if splits:
        progress(f"splitting coins: {len(splits)} transactions")
        signed = sign_all(senders, splits, workers, lambda count: None)
        for start in range(0, len(signed), _BATCH):
            for result in client.submit(signed[start : start + _BATCH], wait="committed", timeout=60.0):
                if result.reason:
                    raise Refused(Reason(result.reason), f"a splitting transaction: {result.detail}")
    return [coins[:each] for coins in owned]


def _coins_of(client: Client, key: SecretKey, enough: int) -> list[SpendableCoin]:
    """Return native coins of a sender, smallest first; all of them unless there are more than enough."""
    found: list[SpendableCoin] = []
    after = ""
    while True:
        page = client.ask(GetOutputs(address=encode_address(key.address), limit=_PAGE, after=after))
        for output in page.outputs:
            if output.kind == "coin" and output.asset == NATIVE_TEXT and int(output.amount or 0) >= _SMALLEST:
                outpoint = OutPoint(TxId(bytes.fromhex(output.txid)), output.index)
                found.append(SpendableCoin(outpoint, int(output.amount or 0)))
        if page.next is None or len(found) > 2 * enough + SPLIT:
            return sorted(found, key=lambda coin: coin.amount)
        after = page.next


def _split_enough(
    terms: Terms, index: int, key: SecretKey, coins: list[SpendableCoin], each: int, unknown: bool
) -> tuple[list[SpendableCoin], list[Unsigned]]:
    """Return the coins after splitting, small ones first, and the splits. A key that is unknown makes at least one."""
    splits: list[Unsigned] = []
    made: list[SpendableCoin] = []
    large = [coin for coin in coins if coin.amount > PIECE * (SPLIT + 1)]
    small = [coin for coin in coins if coin.amount <= PIECE * (SPLIT + 1)]
    while len(small) + len(made) + len(large) < each or (unknown and not splits):
        if not large:
            raise Refused(Reason.INSUFFICIENT_FUNDS, f"sender {index} has no large coin left to split")
        body = split_body(terms, Address(key.address), large.pop(), SPLIT)
        splits.append(Unsigned(index, body, unknown))
        made += pieces_of(body, SPLIT)
    return small + made + large, splits
