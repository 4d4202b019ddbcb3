"""The accounts that `nexus testnet load` pays from: their keys, and their payments signed before the clock runs.

Signing takes 0.4 ms a payment in the native kernel and 7 to 12 without, so it is done beforehand, in parallel, and
never counted. A payment has two inputs, two outputs and one signature; no two payments of one load spend the same coin,
so their order does not matter and they may go to different nodes.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from apps.gas import INPUT, OUTPUT, SIGNATURE, TRANSACTION
from crypto.errors import Reason, Refused
from crypto.keys import SecretKey
from node.home import write_file
from node.wallet import find_work
from state.encoding import encode
from state.transaction import (
    Body,
    Coin,
    OutPoint,
    Transfer,
    Witness,
    assemble,
    sign_digest,
    tx_id,
)
from state.types import NATIVE, Address, Amount, ChainId, Height, TxId
from state.version import PROTOCOL_VERSION

SENDERS: Final = 64
COINS_EACH: Final = 8
"""Coins that each sender has at genesis."""
COIN: Final = 10**12
"""unxs in each of them."""
SPLIT: Final = 240
"""Coins that one splitting transaction makes: below the protocol's cap of 256."""
PIECE: Final = 10**9
"""unxs in each coin that a split makes: enough for a million payments' fees."""
_SIGNATURES_A_TASK: Final = 100


class SpendableCoin(NamedTuple):
    """A coin of the native token, and where it is."""

    outpoint: OutPoint
    amount: int


class Terms(NamedTuple):
    """What every body of one load shares."""

    chain_id: ChainId
    anchor: bytes
    expiry: int
    gas_price: int
    version: int = PROTOCOL_VERSION
    difficulty: int = 0


class Unsigned(NamedTuple):
    """The bytes that one sender is to sign.

    `sender` is an index; `reveal` puts the key into the witness; `difficulty` is the hashcash to find before signing,
    if the body has none yet.
    """

    sender: int
    body: bytes
    reveal: bool
    difficulty: int = 0


def make_senders(count: int = SENDERS) -> list[SecretKey]:
    """Return new random Falcon keys. About 30 ms each."""
    return [SecretKey.generate() for _ in range(count)]


def save_senders(path: Path, senders: Sequence[SecretKey]) -> None:
    """Write the keys, readable by their owner alone."""
    write_file(path, msgspec.msgpack.encode([key.to_bytes() for key in senders]))


def load_senders(path: Path, count: int) -> list[SecretKey]:
    """Read the first `count` keys. Raises Refused(KEY_NOT_FOUND | BAD_KEY_FILE | BAD_ARGUMENT)."""
    try:
        stored = msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])
    except FileNotFoundError:
        raise Refused(Reason.KEY_NOT_FOUND, f"{path} is missing") from None
    except msgspec.DecodeError as error:
        raise Refused(Reason.BAD_KEY_FILE, f"{path}: {error}") from None
    if not 0 < count <= len(stored):
        raise Refused(Reason.BAD_ARGUMENT, f"there are {len(stored)} senders, not {count}")
    return [SecretKey.from_bytes(raw) for raw in stored[:count]]


def split_body(terms: Terms, owner: Address, coin: SpendableCoin, pieces: int, piece: int = PIECE) -> bytes:
    """Return the body that cuts a coin into `pieces` coins of `piece` unxs and the rest, with its hashcash."""
    fee = split_fee(terms, pieces)
    coins = [Coin(NATIVE, owner, Amount(piece))] * pieces
    rest = Coin(NATIVE, owner, Amount(coin.amount - piece * pieces - fee))
    return encode(find_work(_body(terms, fee, Transfer((coin.outpoint,), (*coins, rest))), terms.difficulty))


def split_fee(terms: Terms, pieces: int) -> int:
    """Return what `split_body` pays, in unxs."""
    return _fee(terms, inputs=1, outputs=pieces + 1, size=3400 + 80 * (pieces + 1))


def halving_body(terms: Terms, owner: Address, to: Address, one: SpendableCoin, other: SpendableCoin) -> bytes:
    """Return the body that pays half of two coins to somebody and half back, without hashcash."""
    rest = one.amount + other.amount - halving_fee(terms)
    outputs = (Coin(NATIVE, to, Amount(rest // 2)), Coin(NATIVE, owner, Amount(rest - rest // 2)))
    return encode(_body(terms, halving_fee(terms), Transfer((one.outpoint, other.outpoint), outputs)))


def halving_fee(terms: Terms) -> int:
    """Return what `halving_body` pays, in unxs."""
    return _fee(terms, inputs=2, outputs=2, size=3500)


def pieces_of(body: bytes, pieces: int) -> list[SpendableCoin]:
    """Return the coins of PIECE that a splitting body makes."""
    txid = TxId(tx_id(body))
    return [SpendableCoin(OutPoint(txid, index), PIECE) for index in range(pieces)]


def payment_body(terms: Terms, owner: Address, to: Address, one: SpendableCoin, other: SpendableCoin) -> bytes:
    """Return the body that pays a thousandth of two coins to somebody and the rest back, without hashcash."""
    fee = _fee(terms, inputs=2, outputs=2, size=3500)
    paid = (one.amount + other.amount) // 1000
    outputs = (
        Coin(NATIVE, to, Amount(paid)),
        Coin(NATIVE, owner, Amount(one.amount + other.amount - paid - fee)),
    )
    return encode(_body(terms, fee, Transfer((one.outpoint, other.outpoint), outputs)))


def sign_all(
    senders: Sequence[SecretKey], unsigned: Sequence[Unsigned], workers: int, signed: Callable[[int], None]
) -> list[bytes]:
    """Sign in parallel processes.

    Args:
        senders: the keys.
        unsigned: what to sign.
        workers: processes.
        signed: called with the number of new signatures, for a progress bar.

    Returns:
        Wire bytes, in the order of `unsigned`.
    """
    results: list[list[bytes]] = [[] for _ in range(0, len(unsigned), _SIGNATURES_A_TASK)]
    with signing_pool(senders, workers) as pool:
        tasks = {pool.submit(sign_part, part): place for place, part in enumerate(_parts(unsigned))}
        for task in as_completed(tasks):
            results[tasks[task]] = task.result()
            signed(len(results[tasks[task]]))
    return [raw for part in results for raw in part]


def signing_pool(senders: Sequence[SecretKey], workers: int) -> ProcessPoolExecutor:
    """Return processes that have these keys, for `sign_part`. A second to start: keep it for many parts."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_take_keys, initargs=(tuple(senders),))


_worker_keys: list[SecretKey] = []
"""Keys of this worker process, set once when it starts."""


def _take_keys(keys: Sequence[SecretKey]) -> None:
    _worker_keys[:] = keys


def sign_part(part: Sequence[Unsigned]) -> list[bytes]:
    """Return the wire bytes of some transactions; runs in a process of `signing_pool`."""
    return [_sign_one(_worker_keys[item.sender], item) for item in part]


def _sign_one(key: SecretKey, item: Unsigned) -> bytes:
    body = find_work(msgspec.msgpack.decode(item.body, type=Body), item.difficulty)
    signature = key.sign(sign_digest(encode(body)))
    witness = Witness(Address(key.address), key.public_key if item.reveal else b"", signature)
    return assemble(body, (witness,))


def _parts(unsigned: Sequence[Unsigned]) -> Iterator[Sequence[Unsigned]]:
    return (unsigned[at : at + _SIGNATURES_A_TASK] for at in range(0, len(unsigned), _SIGNATURES_A_TASK))


def _fee(terms: Terms, inputs: int, outputs: int, size: int) -> int:
    """Return a fee that surely suffices for one signature and at most `size` bytes."""
    return terms.gas_price * (TRANSACTION + SIGNATURE + INPUT * inputs + OUTPUT * outputs + size)


def _body(terms: Terms, fee: int, payload: Transfer) -> Body:
    expiry = Height(terms.expiry)
    return Body(terms.version, terms.chain_id, terms.anchor, expiry, 0, Amount(fee), payload)
