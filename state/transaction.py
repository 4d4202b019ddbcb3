"""Transactions: what is signed, what is hashed, and the checks that need no state.

    transaction = [body bytes, witnesses, proofs]
    txid  = H("tx", body)            names outputs, receipts and look-ups
    wtxid = H("wtx", transaction)    names these very bytes: Merkle root, proposals, requests, caches

Every signature covers H("tx-sign", body), and every proof is bound to it. See docs/protocol.md for the field tables.
"""

from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from crypto.hashing import Label, hasher
from state.encoding import Codec, Record, encode
from state.types import (
    Address,
    AddressField,
    AmountField,
    AssetField,
    AssetId,
    ChainIdField,
    Hash32,
    HeightField,
    Index,
    TxId,
    TxIdField,
    Unsigned,
    WtxId,
)
from state.zkvm.instructions import MAX_PROGRAM
from state.zkvm.scripts import CallProof

MAX_TRANSACTION: Final = 64 * 1024
MAX_INPUTS: Final = 256
MAX_OUTPUTS: Final = 256
MAX_MESSAGES: Final = 16
MAX_WITNESSES: Final = 256
MAX_DATA: Final = 4096
"""Bytes of free data in a Memo or a State variable list."""
MAX_HIDDEN: Final = 16
"""Hidden coins that one transaction makes at most: one range proof covers them all."""
MAX_SCRIPT_PLACES: Final = 64
"""Inputs, outputs and further signers of a transaction that runs a program, each."""
MAX_ARGUMENTS: Final = 64
MAX_EXCESSES: Final = 16
"""Assets with hidden coins in one transaction at most."""
MAX_RANGE_PROOF: Final = 928
"""Bytes of a range proof over MAX_HIDDEN commitments to 64 bits (`crypto.rangeproof`)."""
MAX_PROGRAM_PROOF: Final = 1056
"""Bytes of a proof over `state.zkvm.machine.MAX_MULTIPLIERS` multipliers (`crypto.r1cs`)."""
EXCESS_SIZE: Final = 64
"""Bytes of a signature under an excess: a point, a scalar."""
NOTE_SIZE: Final = 1296
"""Bytes of the note of a hidden coin (`crypto.notes`): always as many, so that its length tells nothing."""
SET_SIZE: Final = 9
"""Accounts among which the payer of an AccountPayment hides."""
ACCOUNT_SIZE: Final = 128
"""Bytes of an anonymous account: four points (`crypto.elgamal`)."""
ACCOUNT_KEY_SIZE: Final = 64
"""Bytes of the key of an anonymous account: its first two points."""
RING_SIZE: Final = 11
"""Coins among which a ring spend hides; more than one size would tell wallets apart."""
MAX_RINGS: Final = 8
"""Coins that one RingPayment spends at most."""
SHUFFLE_PROOF: Final = 3072
"""Bytes of a proof that SET_SIZE + 1 accounts were shuffled (`crypto.shuffle`)."""
MOVEMENT_PROOF: Final = 480
"""Bytes of the proof that an amount moved between two accounts: eight rows, seven secrets (`crypto.quisquis`)."""
PAIR_RANGE_PROOF: Final = 736
"""Bytes of a range proof over two commitments to 64 bits."""
RING_SIGNATURE: Final = 416
"""Bytes of a signature over a ring of RING_SIZE members (`crypto.ring`)."""
NO_SCRIPT: Final = bytes(32)
"""Script address of an output that the signature of its owner alone spends."""
NOTHING: Final = bytes(32)
"""Commitment of a Memo or a State that holds no money: the identity, which opens to 0 without a blinding."""


class OutPoint(Record, frozen=True):
    """Names one output: the transaction that made it and its place there."""

    txid: TxIdField
    index: Index


class Coin(Record, frozen=True, tag=1):
    """An amount of one asset, in clear, that its owner may spend."""

    asset: AssetField
    owner: AddressField
    amount: AmountField


class Memo(Record, frozen=True, tag=2):
    """A programmable message, spendable within its time bounds (heights, inclusive) by its script, or by its owner if
    the script is NO_SCRIPT.

    `commitment` holds an amount of `asset`, as that of a HiddenCoin does, or is NOTHING.
    """

    script: Hash32
    owner: AddressField
    asset: AssetField
    commitment: Hash32
    data: Annotated[bytes, Meta(max_length=MAX_DATA)]
    not_before: HeightField
    not_after: HeightField


class State(Record, frozen=True, tag=3):
    """A contract's state: the first has nonce 0, each successor the nonce of its predecessor plus one.

    It is spent as a Memo is, and holds an amount as a Memo does. A successor keeps script and owner; without a
    successor the contract ends.
    """

    nonce: Unsigned
    script: Hash32
    owner: AddressField
    asset: AssetField
    commitment: Hash32
    variables: Annotated[tuple[Annotated[bytes, Meta(max_length=MAX_DATA)], ...], Meta(max_length=64)]
    not_before: HeightField
    not_after: HeightField


class HiddenCoin(Record, frozen=True, tag=4):
    """An amount of one asset that only a Pedersen commitment stands for; asset and owner are in clear.

    `note` tells amount and blinding to the owner, and a copy to the sender. The chain does not read it.
    """

    asset: AssetField
    owner: AddressField
    commitment: Hash32
    note: Annotated[bytes, Meta(min_length=NOTE_SIZE, max_length=NOTE_SIZE)]


Output = Coin | Memo | State | HiddenCoin


class Held(NamedTuple):
    """A hidden amount: which asset, and the commitment that holds it."""

    asset: AssetId
    commitment: bytes


def held(output: Output) -> Held | None:
    """Return the hidden amount that an output holds; None for a coin in clear, and for a commitment to nothing."""
    if isinstance(output, Coin) or (not isinstance(output, HiddenCoin) and output.commitment == NOTHING):
        return None
    return Held(output.asset, output.commitment)


class Transfer(Record, frozen=True, tag=1):
    """Spend inputs, make outputs. The fee is what the native inputs exceed the native outputs by."""

    inputs: Annotated[tuple[OutPoint, ...], Meta(min_length=1, max_length=MAX_INPUTS)]
    outputs: Annotated[tuple[Output, ...], Meta(max_length=MAX_OUTPUTS)]


class Message(Record, frozen=True):
    """One call of a module: `name` is "module/verb", `value` the canonical bytes of its struct."""

    name: Annotated[str, Meta(min_length=3, max_length=48)]
    value: Annotated[bytes, Meta(max_length=MAX_TRANSACTION)]


class Call(Record, frozen=True, tag=2):
    """One or more module messages by an account, all or none. `gas_wanted` caps the work."""

    sender: AddressField
    nonce: Unsigned
    gas_wanted: Unsigned
    messages: Annotated[tuple[Message, ...], Meta(min_length=1, max_length=MAX_MESSAGES)]


class Script(Record, frozen=True, tag=3):
    """Spend inputs, make outputs, as a program allows (`state.zkvm`).

    `call` shows that `program` is one of those under the script address of each Memo and State that it spends. `data`
    are its arguments. `signers` sign besides the owners of the coins spent, in rising order. `not_before` is the first
    height at which the transaction may be in a block; the body's expiry is the last. `gas_wanted` caps the work.
    """

    inputs: Annotated[tuple[OutPoint, ...], Meta(min_length=1, max_length=MAX_SCRIPT_PLACES)]
    outputs: Annotated[tuple[Output, ...], Meta(max_length=MAX_SCRIPT_PLACES)]
    program: Annotated[bytes, Meta(max_length=MAX_PROGRAM)]
    call: CallProof
    data: Annotated[tuple[Annotated[bytes, Meta(max_length=MAX_DATA)], ...], Meta(max_length=MAX_ARGUMENTS)]
    signers: Annotated[tuple[AddressField, ...], Meta(max_length=MAX_SCRIPT_PLACES)]
    not_before: HeightField
    gas_wanted: Unsigned


class AccountPayment(Record, frozen=True, tag=4):
    """Pay out of one of nine anonymous accounts without telling which. Proofs alone authorise it.

    `accounts` are ids of accounts in the state, in rising order. `receiver` is a new key (g, h), whose account begins
    with nothing. `outputs` take the place of all ten, renewed and in another order. The fee leaves the payer's account.
    """

    accounts: Annotated[tuple[Hash32, ...], Meta(min_length=SET_SIZE, max_length=SET_SIZE)]
    receiver: Annotated[bytes, Meta(min_length=ACCOUNT_KEY_SIZE, max_length=ACCOUNT_KEY_SIZE)]
    outputs: Annotated[
        tuple[Annotated[bytes, Meta(min_length=ACCOUNT_SIZE, max_length=ACCOUNT_SIZE)], ...],
        Meta(min_length=SET_SIZE + 1, max_length=SET_SIZE + 1),
    ]


class Ring(Record, frozen=True):
    """One ring coin that is spent without telling which.

    `members` are the numbers of ring coins of `asset`, in rising order. `commitment` is a new one to the amount of the
    coin that is spent, `image` its key image.
    """

    asset: AssetField
    members: Annotated[tuple[Unsigned, ...], Meta(min_length=RING_SIZE, max_length=RING_SIZE)]
    commitment: Hash32
    image: Hash32


class RingCoin(Record, frozen=True):
    """An amount of one asset that only a Pedersen commitment stands for, under a key for this coin alone.

    `note` tells amount, blinding and the way to the key's secret to the owner. The chain does not read it.
    """

    asset: AssetField
    key: Hash32
    commitment: Hash32
    note: Annotated[bytes, Meta(min_length=NOTE_SIZE, max_length=NOTE_SIZE)]


class RingPayment(Record, frozen=True, tag=5):
    """Spend ring coins; make others, and coins in clear. Proofs alone authorise it."""

    rings: Annotated[tuple[Ring, ...], Meta(min_length=1, max_length=MAX_RINGS)]
    made: Annotated[tuple[RingCoin, ...], Meta(max_length=MAX_HIDDEN)]
    outputs: Annotated[tuple[Coin, ...], Meta(max_length=MAX_OUTPUTS)]


Spend = Transfer | Script
"""What spends outputs and makes outputs."""
Anonymous = AccountPayment | RingPayment
"""What proofs alone authorise: nobody signs but the sponsor, if there is one."""
Payload = Transfer | Call | Script | AccountPayment | RingPayment


def made_by(payload: Payload) -> tuple[Output, ...]:
    """Return the outputs that a payload makes, in the order of their outpoints; of a call only its messages know."""
    return () if isinstance(payload, Call | AccountPayment) else payload.outputs


class Body(Record, frozen=True):
    """What every witness signs.

    `anchor` is the id of a recent block (genesis: the chain id) and `expiry` the last height at which the
    transaction may be included. `work` is the hashcash nonce. `fee` is in unxs. `sponsor` is empty, or the address of a
    further signer whose space record stands for the payer's.
    """

    version: Annotated[int, Meta(ge=0, le=255)]
    chain_id: ChainIdField
    anchor: Hash32
    expiry: HeightField
    work: Unsigned
    fee: AmountField
    payload: Payload
    sponsor: Annotated[bytes, Meta(max_length=32)] = b""


class Witness(Record, frozen=True):
    """One signer. `key` is the scheme byte and public key, or empty if the chain already knows it."""

    signer: AddressField
    key: Annotated[bytes, Meta(max_length=32 * 1024)]
    signature: Annotated[bytes, Meta(max_length=48 * 1024)]


class TransferProof(Record, frozen=True, tag=1):
    """What a transfer with hidden amounts shows; a Script shows the same, and that its program ran.

    `ranges` is one range proof over the commitments of all new outputs that hold a hidden amount, in order, empty if
    there are none. Of each asset with hidden amounts, spent or made, `excesses` has a signature under its excess, in
    rising order of asset. `program` is the proof of a program's constraint system, empty if none is left to prove.
    """

    ranges: Annotated[bytes, Meta(max_length=MAX_RANGE_PROOF)]
    excesses: Annotated[
        tuple[Annotated[bytes, Meta(min_length=EXCESS_SIZE, max_length=EXCESS_SIZE)], ...],
        Meta(max_length=MAX_EXCESSES),
    ]
    program: Annotated[bytes, Meta(max_length=MAX_PROGRAM_PROOF)] = b""


class AccountProof(Record, frozen=True, tag=2):
    """What an AccountPayment shows (`crypto.quisquis`).

    `mixed` are the nine accounts and the receiver's new one, renewed and shuffled; the first of them pays the second.
    `moved` are the amounts (c, d) of these two after the payment. `first` and `second` prove the shuffles before and
    after it. `amounts` are commitments to what is paid and to what is left; `movement` ties them to the accounts,
    `ranges` is the range proof over both.
    """

    mixed: Annotated[bytes, Meta(min_length=(SET_SIZE + 1) * ACCOUNT_SIZE, max_length=(SET_SIZE + 1) * ACCOUNT_SIZE)]
    moved: Annotated[bytes, Meta(min_length=ACCOUNT_SIZE, max_length=ACCOUNT_SIZE)]
    first: Annotated[bytes, Meta(min_length=SHUFFLE_PROOF, max_length=SHUFFLE_PROOF)]
    second: Annotated[bytes, Meta(min_length=SHUFFLE_PROOF, max_length=SHUFFLE_PROOF)]
    amounts: Annotated[bytes, Meta(min_length=64, max_length=64)]
    movement: Annotated[bytes, Meta(min_length=MOVEMENT_PROOF, max_length=MOVEMENT_PROOF)]
    ranges: Annotated[bytes, Meta(min_length=PAIR_RANGE_PROOF, max_length=PAIR_RANGE_PROOF)]


class RingProof(Record, frozen=True, tag=3):
    """What a RingPayment shows.

    `signatures` has a ring signature for each ring, in order. `ranges` is one range proof over the commitments of
    `made`, empty if there are none. `excesses` has, of each asset that the rings are of, a signature under its excess,
    in rising order of asset.
    """

    signatures: Annotated[
        tuple[Annotated[bytes, Meta(min_length=RING_SIGNATURE, max_length=RING_SIGNATURE)], ...],
        Meta(min_length=1, max_length=MAX_RINGS),
    ]
    ranges: Annotated[bytes, Meta(max_length=MAX_RANGE_PROOF)]
    excesses: Annotated[
        tuple[Annotated[bytes, Meta(min_length=EXCESS_SIZE, max_length=EXCESS_SIZE)], ...],
        Meta(min_length=1, max_length=MAX_RINGS),
    ]


Proof = TransferProof | AccountProof | RingProof
"""What stands beside the witnesses, of each kind of payload."""


def excess_count(proofs: Sequence[Proof]) -> int:
    """Return how many signatures under excesses proofs hold."""
    return sum(len(proof.excesses) for proof in proofs if not isinstance(proof, AccountProof))


class Transaction(Record, frozen=True):
    """Body bytes, witnesses in rising order of signer, and the zero-knowledge proofs that the body needs.

    Of anonymous payments proofs are the only authority: these alone may come without a witness.
    """

    body: Annotated[bytes, Meta(max_length=MAX_TRANSACTION)]
    witnesses: Annotated[tuple[Witness, ...], Meta(max_length=MAX_WITNESSES)]
    proofs: Annotated[tuple[TransferProof | AccountProof | RingProof, ...], Meta(max_length=1)] = ()


transaction_codec: Final = Codec(Transaction, MAX_TRANSACTION)
body_codec: Final = Codec(Body, MAX_TRANSACTION)
tx_id: Final = hasher(Label.TX)
wtx_id: Final = hasher(Label.WTX)
sign_digest: Final = hasher(Label.TX_SIGN)
work_digest: Final = hasher(Label.TX_WORK)


class Decoded(Record, frozen=True):
    """A transaction that passed the strict decoder, with everything derived from its bytes."""

    raw: bytes
    txid: TxId
    wtxid: WtxId
    transaction: Transaction
    body: Body

    @property
    def signers(self) -> tuple[Address, ...]:
        """Return who signed, in witness order."""
        return tuple([witness.signer for witness in self.transaction.witnesses])

    @property
    def excesses(self) -> int:
        """Return how many signatures under excesses it carries."""
        proofs = self.transaction.proofs
        return excess_count(proofs) if proofs else 0

    @property
    def shown(self) -> TransferProof | None:
        """Return what it shows of hidden amounts and of its program, if it carries that."""
        for proof in self.transaction.proofs:
            if isinstance(proof, TransferProof):
                return proof
        return None


def decode_transaction(raw: bytes) -> Decoded:
    """Decode wire bytes strictly, body included.

    Raises:
        Refused: TOO_LARGE, MALFORMED or NOT_CANONICAL.
    """
    transaction = transaction_codec.decode(raw)
    body = body_codec.decode(transaction.body)
    return Decoded(raw, TxId(tx_id(transaction.body)), WtxId(wtx_id(raw)), transaction, body)


def assemble(body: Body, witnesses: tuple[Witness, ...], proofs: tuple[Proof, ...] = ()) -> bytes:
    """Return the wire bytes of a signed transaction; witnesses are put in signer order."""
    return encode(Transaction(encode(body), tuple(sorted(witnesses, key=lambda witness: witness.signer)), proofs))
