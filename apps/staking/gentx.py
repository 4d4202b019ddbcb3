"""A validator's part of a genesis document: what its operator signs before there is a chain.

It names the rules of the draft that it was made for, so that nobody is taken for a validator of a chain whose rules he
has not seen. Accounts and the time of the first block may still change: balances are looked at when all are collected.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from apps.staking.messages import MonikerField, ProofField, possession_digest
from consensus.types import KeyField
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.keys import SecretKey
from crypto.schemes import address_of, check_public_key, verify
from state.encoding import Codec, Record, encode
from state.genesis import Genesis
from state.genesis_json import REQUIRED, Fields, Reading, decimal, hexadecimal, text, whole
from state.params import BasisPoints
from state.types import HASH_SIZE, Address, ChainId

MAX_GENTX: Final = 64 << 10
"""Cap in bytes of a file."""
SignatureField = Annotated[bytes, Meta(max_length=48 << 10)]


class Gentx(Record, frozen=True):
    """What an operator hands in. Its account is the address of `operator_key`.

    Attributes:
        terms: of the draft (`terms_of`).
        operator_key: of the account, with its scheme byte.
        public_key: the consensus key, with its scheme byte.
        proof: by the consensus key, over `possession_digest` of terms and operator.
        moniker: for people.
        commission: basis points.
        power: nxs of the operator's balance that it bonds.
        node_address: `ID@[ADDR]:PORT` or empty.
    """

    terms: Annotated[bytes, Meta(min_length=HASH_SIZE, max_length=HASH_SIZE)]
    operator_key: KeyField
    public_key: KeyField
    proof: ProofField
    moniker: MonikerField
    commission: BasisPoints
    power: Annotated[int, Meta(ge=1, le=2**50)]
    node_address: Annotated[str, Meta(max_length=256)]

    @property
    def operator(self) -> Address:
        """The operator's account. Raises Refused(BAD_KEY)."""
        return Address(address_of(self.operator_key))


class SignedGentx(Record, frozen=True):
    """With the operator's signature over `gentx_digest`."""

    gentx: Gentx
    signature: SignatureField


signed_gentx_codec: Final = Codec(SignedGentx, max_size=MAX_GENTX)
_FIELDS: Final[Fields] = {
    "terms": (hexadecimal, REQUIRED), "operator_key": (hexadecimal, REQUIRED), "public_key": (hexadecimal, REQUIRED),
    "proof": (hexadecimal, REQUIRED), "moniker": (text, REQUIRED), "commission": (whole, REQUIRED),
    "power": (decimal, REQUIRED), "node_address": (text, ""), "signature": (hexadecimal, REQUIRED),
}  # fmt: skip


def terms_of(draft: Genesis) -> bytes:
    """Return the hash of the rules that a validator agrees to: everything but the time, validators and money."""
    return digest(Label.GENESIS_TERMS, encode((
        draft.version, draft.name, draft.timing, draft.chain, draft.security, draft.staking, draft.proofs
    )))  # fmt: skip


def gentx_digest(gentx: Gentx) -> bytes:
    """Return what the operator signs."""
    return digest(Label.GENTX, encode(gentx))


def make_gentx(
    draft: Genesis, operator: SecretKey, consensus: SecretKey, *, moniker: str, power: int, commission: int = 0,
    node_address: str = "",
) -> SignedGentx:
    """Return a signed part for a draft; the arguments are fields of `Gentx`. Raises Refused(BAD_GENTX)."""
    terms = terms_of(draft)
    proof = consensus.sign(possession_digest(ChainId(terms), operator.address, consensus.public_key))
    gentx = Gentx(
        terms, operator.public_key, consensus.public_key, proof, moniker, commission, power, node_address
    )
    signed = SignedGentx(gentx, operator.sign(gentx_digest(gentx)))
    check_gentx(signed)
    return signed


def check_gentx(signed: SignedGentx) -> None:
    """Check a part by itself: form, keys and both signatures. Raises Refused(BAD_GENTX | BAD_KEY | BAD_SIGNATURE)."""
    try:
        signed_gentx_codec.decode(encode(signed))
    except Refused as refused:
        raise Refused(Reason.BAD_GENTX, refused.detail) from None
    gentx = signed.gentx
    check_public_key(gentx.operator_key)
    check_public_key(gentx.public_key)
    if gentx.operator_key == gentx.public_key:
        raise Refused(Reason.BAD_KEY, "the account and the validator must have keys of their own")
    if not gentx.moniker.isprintable() or gentx.moniker != gentx.moniker.strip():
        raise Refused(Reason.BAD_GENTX, "a moniker is printable, without spaces around it")
    possession = possession_digest(ChainId(gentx.terms), gentx.operator, gentx.public_key)
    if not verify(gentx.public_key, possession, gentx.proof):
        raise Refused(Reason.BAD_SIGNATURE, "the consensus key's proof of possession does not hold")
    if not verify(gentx.operator_key, gentx_digest(gentx), signed.signature):
        raise Refused(Reason.BAD_SIGNATURE, "the operator's signature does not hold: the file was changed")


def gentx_to_json(signed: SignedGentx) -> bytes:
    """Return the file's form, indented UTF-8 text that ends with a newline."""
    form = msgspec.structs.asdict(signed.gentx) | {"signature": signed.signature}
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in form.items()}
    plain["power"] = str(signed.gentx.power)
    return msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n"


def gentx_from_json(raw: bytes) -> SignedGentx:
    """Return a part whose form was checked, and nothing else. Raises Refused(BAD_GENTX), naming every wrong field."""
    if len(raw) > 4 * MAX_GENTX:
        raise Refused(Reason.BAD_GENTX, f"{len(raw)} bytes, at most {4 * MAX_GENTX}")
    try:
        form = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Reason.BAD_GENTX, f"this is no JSON text: {error}") from None
    reading = Reading()
    values = reading.struct("", form, _FIELDS)
    if values is None:
        raise Refused(Reason.BAD_GENTX, "; ".join(reading.faults))
    signature = values.pop("signature")
    return SignedGentx(Gentx(**values), signature)
