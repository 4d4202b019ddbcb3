"""docs/protocol.md says what the code does: every table of fields, the labels, the reasons, the worked bytes.

The document names each struct in a heading such as "#### Coin `state.transaction` tag 1". Below it stands a table
whose first two columns are the field's name and its type in the document's notation. Here the same two columns are
made from the code.
"""

import enum
import importlib
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consensus.types import Header, VoteKind, proposal_sign_bytes, vote_sign_bytes
from crypto.address import encode_address
from crypto.errors import Reason
from crypto.hashing import Label
from crypto.merkle import merkle_root
from state.encoding import Record, encode
from state.pages import EMPTY_NODE, leaf_digest, node_hash, page_hash, set_child, state_key
from state.records import balance_key, encode_amount
from state.transaction import Body, Coin, OutPoint, Transfer, Witness, assemble, sign_digest, tx_id, wtx_id
from state.types import NATIVE, Address, Amount, BlockId, ChainId, Height, Round, TxId

DOCUMENT = (Path(__file__).resolve().parent.parent / "docs" / "protocol.md").read_text()
MODULES = (
    "state.transaction", "state.receipt", "state.genesis", "state.proof", "state.snapshot",
    "consensus.types", "consensus.relay",
    "consensus.sightings", "consensus.light", "p2p.wire", "p2p.requests", "p2p.stoq.control", "p2p.records",
    "p2p.exchange", "p2p.gossip.topics", "p2p.interop.announcement",
    "apps.token.messages", "apps.auth.messages", "apps.proofs.messages", "apps.chain.messages",
    "apps.staking.messages", "apps.staking.gentx", "apps.confidential.messages", "apps.anonymous.messages",
    "apps.anonymous.records", "state.records", "node.light.answer",
)
"""Modules whose every struct crosses a wire, is signed or is hashed: each needs a table."""
INTERNAL = {"state.transaction.Decoded"}
HEADING = re.compile(r"^#### (?P<name>\w+) `(?P<module>[\w.]+)`(?: tag (?P<tag>\d+))?$")
NAMED = {2**62: "2^62", 2**50: "2^50"} | {2**bits - 1: f"2^{bits}-1" for bits in (16, 31, 32, 63)}


def bounds(low: float | None, high: float | None) -> str:
    """Return "(32)", "(0..4096)", "(1..)" or nothing."""
    if low is None and high is None:
        return ""
    if low == high:
        return f"({low})"
    return f"({0 if low is None else low}..{'' if high is None else NAMED.get(int(high), high)})"


def notation(kind: Any) -> str:
    """Return a type in the notation of docs/protocol.md."""
    limits: list[msgspec.Meta] = []
    while True:
        if typing.get_origin(kind) is typing.Annotated:
            kind, *extra = typing.get_args(kind)
            limits += [item for item in extra if isinstance(item, msgspec.Meta)]
        elif isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        else:
            break
    limit = limits[-1] if limits else msgspec.Meta()
    arguments = typing.get_args(kind)
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return " / ".join(notation(part) for part in arguments)
    if typing.get_origin(kind) is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"[{notation(arguments[0])}]{bounds(limit.min_length, limit.max_length)}"
        return f"({', '.join(notation(part) for part in arguments)})"
    if kind is int:
        return "uint" if (limit.ge, limit.le) == (0, 2**63 - 1) else f"int{bounds(limit.ge, limit.le)}"
    plain = {bytes: "bytes", str: "text", bool: "bool"}
    if kind in plain:
        return f"{plain[kind]}{bounds(limit.min_length, limit.max_length)}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " / ".join(f"{member.value}" for member in kind)
    return str(kind.__name__)


def fields_of(record: type[Record]) -> list[tuple[str, str]]:
    hints = typing.get_type_hints(record, include_extras=True)
    return [(field.name, notation(hints[field.name])) for field in msgspec.structs.fields(record)]


def tables() -> Iterator[tuple[str, str, str | None, list[tuple[str, str]]]]:
    """Yield (module, struct, tag, rows) for each struct's heading in the document."""
    lines = DOCUMENT.splitlines()
    for number, line in enumerate(lines):
        match = HEADING.match(line)
        if match is None:
            continue
        rows: list[tuple[str, str]] = []
        for row in lines[number + 1 :]:
            if row.startswith("#"):
                break
            cells = [cell.strip() for cell in row.strip("|").split(" | ")]
            if row.startswith("| `") and len(cells) >= 2:
                rows.append((cells[0].strip("` "), cells[1]))
        yield match["module"], match["name"], match["tag"], rows


DOCUMENTED = list(tables())


@pytest.mark.parametrize(("module", "name", "tag", "rows"), DOCUMENTED, ids=lambda value: str(value)[:30])
def test_table_is_the_struct(module: str, name: str, tag: str | None, rows: list[tuple[str, str]]) -> None:
    record = getattr(importlib.import_module(module), name)
    assert rows == fields_of(record)
    assert record.__struct_config__.tag == (None if tag is None else int(tag))


@pytest.mark.parametrize("module", MODULES)
def test_every_struct_has_a_table(module: str) -> None:
    here = vars(importlib.import_module(module)).values()
    records = [item for item in here if isinstance(item, type) and issubclass(item, Record)]
    found = {
        f"{module}.{item.__name__}" for item in records if item.__module__ == module and item.__name__[0] != "_"
    }
    documented = {f"{place}.{name}" for place, name, _, _ in DOCUMENTED}
    assert found - INTERNAL <= documented


def test_labels_are_listed() -> None:
    listed = set(re.findall(r"`(nexus/[a-z-]+/\d+)`", DOCUMENT))
    assert listed == {label.value.decode() for label in Label}


def test_reasons_are_listed() -> None:
    section = DOCUMENT.split("## Reasons")[1]
    assert set(re.findall(r"`([a-z_]+)`", section)) >= {reason.value for reason in Reason}


def worked() -> dict[str, str]:
    """Return the values of section 11 by name."""
    chain = ChainId(b"\x11" * 32)
    alice, bob = Address(b"\xaa" * 32), Address(b"\xbb" * 32)
    transfer = Transfer((OutPoint(TxId(b"\x22" * 32), 1),), (Coin(NATIVE, bob, Amount(1_000_000)),))
    body = Body(1, chain, bytes(chain), Height(300), 0, Amount(2000), transfer)
    raw = assemble(body, (Witness(alice, b"", b"\x01" + b"\x33" * 4),))
    four = b"\x44" * 32
    header = Header(
        1, chain, Height(1), 1_700_000_000_000, alice, BlockId(bytes(chain)), four, four, four, four, four, four, four,
        bytes(32),
    )
    key, value = balance_key(alice, NATIVE), encode_amount(5)
    page = state_key(key) + leaf_digest(value)
    root = bytearray(EMPTY_NODE)
    set_child(root, state_key(key)[0] >> 4, page_hash(page), 1)
    values = {
        "body": encode(body),
        "txid": tx_id(encode(body)),
        "what its witness signs": sign_digest(encode(body)),
        "transaction": raw,
        "wtxid": wtx_id(raw),
        "transactions root of that one": merkle_root([wtx_id(raw)]),
        "root of no leaves": merkle_root([]),
        "header": encode(header),
        "block id": header.block_id,
        "what a prevote for it in round 2 signs": vote_sign_bytes(
            chain, VoteKind.PREVOTE, Height(1), Round(2), header.block_id
        ),
        "what a precommit for nil in round 0 signs": vote_sign_bytes(
            chain, VoteKind.PRECOMMIT, Height(1), Round(0), BlockId(b"")
        ),
        "what a proposal of it in round 0 signs": proposal_sign_bytes(chain, Height(1), Round(0), -1, header.block_id),
        "place of alice's balance": state_key(key),
        "state root with that balance of 5 alone": node_hash(bytes(root)),
    }
    return {name: value.hex() for name, value in values.items()} | {"alice": encode_address(alice)}


def test_worked_bytes() -> None:
    section = DOCUMENT.split("## 11. Worked bytes")[1].split("## Reasons")[0]
    printed = dict(re.findall(r"^\*\*(.+?)\*\* `([0-9a-z]+)`$", section, re.M))
    assert printed == worked()
