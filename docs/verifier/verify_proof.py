#!/usr/bin/env python3
"""A second verifier of answers that `nexus light query ... --export FILE` wrote; it shares no code with the node.

    python verify_proof.py FILE --trust-height 120 --trust-hash 5f0c...
    python verify_proof.py FILE --chain-id 2adc...

It needs the standard library, `msgpack` and `pqcrypto`, and was written from docs/protocol.md and docs/light-client.md.
It prints what is proven as JSON and ends with 0, or says what is wrong and ends with 1. It asks no network.
"""

import argparse
import hashlib
import json
import sys
import time

import msgpack
from pqcrypto.sign.falcon_padded_1024 import verify as falcon_verify

CLOCK_DRIFT = 10_000  # ms by which a header may be ahead of our clock
PAGE_RECORDS = 32
ENTRY = 64  # bytes of an entry in a page of the state tree
NODE = 16 * 32 + 16 * 4  # bytes of an inner node: hashes, then record counts
MAX_AMOUNT = 2**63 - 1
PRECOMMIT = 2
HEADER_FIELDS = (
    "version", "chain_id", "height", "time", "proposer", "previous", "last_commit_hash", "transactions_root",
    "state_root", "receipts_root", "validators_hash", "next_validators_hash", "evidence_root", "beacon",
)
HEADER_NUMBERS = ("version", "height", "time")


class Wrong(Exception):
    """The file proves nothing; the text says why."""


def need(condition, why):
    """Raise Wrong unless the condition holds."""
    if not condition:
        raise Wrong(why)


# ---- bytes


def digest(label, data):
    """H(label, data) of docs/protocol.md: SHA3-256 over the label's length, the label, and the data."""
    text = b"nexus/" + label + b"/1"
    return hashlib.sha3_256(bytes([len(text)]) + text + data).digest()


def pack(value):
    """Return the one canonical MessagePack form of a value."""
    return msgpack.packb(value, use_bin_type=True)


def unpack(raw):
    """Return the value of canonical MessagePack bytes."""
    try:
        value = msgpack.unpackb(raw, raw=False, strict_map_key=True)
    except Exception as error:
        raise Wrong(f"the bytes are no MessagePack: {error}") from None
    need(pack(value) == raw, "the bytes are not in canonical form")
    return value


def array(value, length, what):
    """Return a list of exactly that many fields."""
    need(isinstance(value, list) and len(value) == length, f"{what} is no array of {length}")
    return value


def items(value, what):
    """Return a list of any length."""
    need(isinstance(value, list), f"{what} is no array")
    return value


def number(value, what):
    """Return a whole number from 0 to 2^63-1."""
    need(type(value) is int and 0 <= value <= MAX_AMOUNT, f"{what} is no number")
    return value


def octets(value, what, size=None):
    """Return bytes, of a certain size if one is given."""
    need(isinstance(value, bytes) and (size is None or len(value) == size), f"{what} is not {size} bytes")
    return value


# ---- signatures: the scheme byte of the key decides

FALCON_KEY, FALCON_SIGNATURE = 1793, 1280
SIZES = {1: (1 + FALCON_KEY, 1 + FALCON_SIGNATURE), 2: (1 + 32 + FALCON_KEY, 1 + 64 + FALCON_SIGNATURE)}
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def holds(key, message, signature):
    """Tell whether a signature holds: 1 Falcon-1024, 2 Ed25519 with Falcon-1024, 3 several of these."""
    scheme = key[0] if key else 0
    if signature[:1] != key[:1]:
        return False
    if scheme == 3:
        return several_hold(key, message, signature)
    if scheme not in SIZES or (len(key), len(signature)) != SIZES[scheme]:
        return False
    if scheme == 1:
        return bool(falcon_verify(key[1:], message, signature[1:]))
    signed = digest(b"hybrid-sign", key + message)
    falcon = falcon_verify(key[33:], signed, signature[65:])
    return bool(falcon) and ed25519_holds(key[1:33], signed, signature[1:65])


def several_hold(key, message, signature):
    """Tell whether exactly as many members signed as the key wants, in rising order."""
    members = []
    at = 3
    for _ in range(key[2] if len(key) > 2 else 0):
        size = SIZES.get(key[at] if at < len(key) else 0, (len(key) + 1, 0))[0]
        members.append(key[at : at + size])
        at += size
    falcons = {member[-FALCON_KEY:] for member in members}
    if at != len(key) or not 1 <= key[1] <= len(members) <= 16 or len(falcons) != len(members):
        return False
    if any(a >= b for a, b in zip(members, members[1:])):
        return False
    at, last, count = 1, -1, 0
    while at < len(signature):
        index = signature[at]
        if not last < index < len(members):
            return False
        size = SIZES[members[index][0]][1]
        if not holds(members[index], message, signature[at + 1 : at + 1 + size]):
            return False
        at, last, count = at + 1 + size, index, count + 1
    return at == len(signature) and count == key[1]


def ed25519_holds(key, message, signature):
    """Verify as RFC 8032 section 5.1.7 says, without the cofactor, and with no point of small order."""
    point, challenge_point = decompress(key), decompress(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if point is None or challenge_point is None or scalar >= ORDER:
        return False
    if any(is_neutral(times(8, one)) for one in (point, challenge_point)):
        return False
    hashed = hashlib.sha512(signature[:32] + key + message).digest()
    challenge = int.from_bytes(hashed, "little") % ORDER
    left, right = times(scalar, BASE), add(challenge_point, times(challenge, point))
    same_x = (left[0] * right[2] - right[0] * left[2]) % P == 0
    return same_x and (left[1] * right[2] - right[1] * left[2]) % P == 0


def decompress(raw):
    """Return a curve point in extended coordinates, or None if the bytes are none in canonical form."""
    number_ = int.from_bytes(raw, "little")
    sign, y = number_ >> 255, number_ & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def add(one, other):
    """Add two points (RFC 8032 section 5.1.4)."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c, d = 2 * one[3] * other[3] * D % P, 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    """Multiply a point."""
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def is_neutral(point):
    """Tell whether a point is the neutral one."""
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


# ---- headers, validators, commits


class Block:
    """A light block: header, commit, and the validators of its height."""

    def __init__(self, value):
        header, commit, validators = array(value, 3, "a light block")
        self.header = Header(header)
        self.round, self.block_id, self.signatures = self._commit(commit)
        (members,) = array(validators, 1, "a validator set")
        self.validators = [_validator(one) for one in items(members, "a validator set")]
        need(1 <= len(self.validators) <= 256, "a validator set has 1 to 256 members")
        self.set_hash = digest(b"validators", pack(validators))
        self.total = sum(power for _, _, power in self.validators)

    def _commit(self, value):
        height, round_, block_id, signatures = array(value, 4, "a commit")
        need(number(height, "height") == self.header["height"], "the commit is of another height")
        signed = []
        for one in items(signatures, "signatures"):
            index, signature = array(one, 2, "a signature")
            signed.append((number(index, "validator"), octets(signature, "a signature")))
        return number(round_, "round"), octets(block_id, "block id"), signed

    def signed_message(self):
        """Return the 32 bytes that each precommit of the commit signs."""
        header = self.header
        return digest(
            b"vote", pack([header["chain_id"], PRECOMMIT, header["height"], self.round, self.block_id])
        )

    def check(self, chain_id):
        """Check that the three parts belong together, and every signature."""
        need(self.header["chain_id"] == chain_id, "the header is of another chain")
        need(self.set_hash == self.header["validators_hash"], "the validators are not those of the header")
        addresses = [address for address, _, _ in self.validators]
        need(all(a < b for a, b in zip(addresses, addresses[1:])), "the validators are not in order")
        need(self.block_id == self.header.id, "the commit is for another block")
        indices = [index for index, _ in self.signatures]
        need(all(a < b for a, b in zip(indices, indices[1:])), "the signatures are not in order")
        need(not indices or indices[-1] < len(self.validators), "a signature of no validator")
        power = sum(self.validators[index][2] for index in indices)
        need(3 * power > 2 * self.total, f"power {power} of {self.total} is not more than two thirds")
        message = self.signed_message()
        for index, signature in self.signatures:
            need(holds(self.validators[index][1], message, signature), f"signature {index} does not hold")
        self.power = power

    def trusted_power(self, trusted):
        """Return the power of another set that signed this block. Keys are those of that set."""
        known = {address: (key, power) for address, key, power in trusted.validators}
        total = 0
        for index, signature in self.signatures:
            address, own_key, _ = self.validators[index]
            if address in known:
                key, power = known[address]
                good = key == own_key or holds(key, self.signed_message(), signature)
                need(good, f"signature {index} does not hold under the trusted key")
                total += power
        return total


class Header(dict):
    """A block header by field name; `id` is its hash."""

    def __init__(self, value):
        array(value, len(HEADER_FIELDS), "a header")
        super().__init__(zip(HEADER_FIELDS, value))
        for name in HEADER_FIELDS:
            number(self[name], name) if name in HEADER_NUMBERS else octets(self[name], name, 32)
        need(self["version"] < 2**16, "version is out of range")
        self.id = digest(b"block", pack(value))


def _validator(value):
    address, key, power, operator = array(value, 4, "a validator")
    octets(operator, "operator", 32)
    need(1 <= number(power, "power") <= 2**50, "power is out of range")
    return octets(address, "address", 32), octets(key, "key"), power


def check_step(trusted, new, now, period):
    """Check that a light block follows from a trusted one: adjacent, or signed by a third of the trusted power."""
    before, after = trusted.header, new.header
    need(before["time"] + period > now, "the trusted header is older than the trust period")
    need(after["height"] > before["height"], "the heights do not rise")
    need(after["time"] > before["time"], "the times do not rise")
    need(after["time"] <= now + CLOCK_DRIFT, "a header is from the future")
    if after["height"] == before["height"] + 1:
        need(after["validators_hash"] == before["next_validators_hash"], "the set is not the one named before")
        need(after["previous"] == before.id, "the header does not follow the trusted one")
        return
    power = new.trusted_power(trusted)
    need(3 * power > trusted.total, f"power {power} of {trusted.total} that is trusted signed: not more than a third")


# ---- the root of trust


def check_root(first, genesis_raw, options, now):
    """Check the first block against what the user trusts; return chain id and trust period."""
    chain_id = digest(b"genesis", genesis_raw)
    if options.chain_id:
        need(chain_id.hex() == options.chain_id, "the genesis is not that of the trusted chain id")
    else:
        need(first.header["height"] == options.trust_height, "the way begins at another height than the trust")
        need(first.header.id.hex() == options.trust_hash, "the first block is not the trusted one")
        need(first.header["chain_id"] == chain_id, "the genesis is not that of the chain")
    genesis = unpack(genesis_raw)  # now known to be the chain's own
    period = genesis[5][2]
    if options.chain_id:
        need(genesis[2] + period > now, "the genesis is older than the trust period")
        need(first.header["height"] == 1, "the way does not begin with the first block")
        need(first.header["previous"] == chain_id, "the first block does not follow from the genesis")
        need(first.set_hash == genesis_set(genesis[6]), "the first validators are not those of the genesis")
    need(first.header["time"] <= now + CLOCK_DRIFT, "the root of trust is from the future")
    need(first.header["time"] + period > now, "the root of trust is older than the trust period")
    return chain_id, period


def genesis_set(listed):
    """Return the hash of the validator set that a genesis document begins with."""
    members = []
    for key, power, operator, *_ in listed:
        members.append([digest(b"address", key), key, power, operator])
    return digest(b"validators", pack([sorted(members)]))


# ---- what is proven


def check_record(root, value):
    """Check a state proof; return the record's raw key, and its value or None if it proves that there is none."""
    raw_key, proof = array(value, 2, "a record")
    held, page, nodes = array(proof, 3, "a state proof")
    octets(raw_key, "key")
    octets(page, "page")
    need(1 <= len(items(nodes, "nodes")) <= 64, "a proof has 1 to 64 inner nodes")
    key = digest(b"state-key", raw_key)
    path = key.hex()
    expected, count = root, None
    for depth, node in enumerate(nodes):
        octets(node, "inner node", NODE)
        need(digest(b"state-node", node) == expected, f"the inner node at depth {depth} has another hash")
        counts = [int.from_bytes(node[512 + 4 * i : 516 + 4 * i], "big") for i in range(16)]
        need(not depth or (sum(counts) == count and count > PAGE_RECORDS), f"wrong count at depth {depth}")
        digit = int(path[depth], 16)
        expected, count = node[32 * digit : 32 * digit + 32], counts[digit]
    need(count <= PAGE_RECORDS and len(page) == count * ENTRY, "the page has a wrong count")
    need((digest(b"state-page", page) if page else bytes(32)) == expected, "the page has another hash")
    entries = [(page[at : at + 32], page[at + 32 : at + 64]) for at in range(0, len(page), ENTRY)]
    prefix = path[: len(nodes)]
    need(all(one.hex().startswith(prefix) for one, _ in entries), "an entry lies outside its page")
    need(all(a[0] < b[0] for a, b in zip(entries, entries[1:])), "the entries are not in order")
    leaf = dict(entries).get(key)
    if not items(held, "value"):
        need(leaf is None, "the record exists, but its value is missing")
        return raw_key, None
    (content,) = array(held, 1, "value")
    need(leaf == digest(b"state-leaf", octets(content, "value")), "the value is not the one in the page")
    return raw_key, content


def check_receipt(value, header):
    """Check a receipt's way to the receipts root of the header above its block; return its fields."""
    raw, path = array(value, 2, "a receipt")
    found = digest(b"merkle-leaf", octets(raw, "receipt"))
    need(len(items(path, "path")) <= 63, "the way is too long")
    for step in path:
        left, sibling = array(step, 2, "a step")
        need(isinstance(left, bool), "a side is no boolean")
        octets(sibling, "sibling", 32)
        found = digest(b"merkle-node", sibling + found if left else found + sibling)
    need(found == header["receipts_root"], "the receipt's way leads to another root")
    receipt = array(unpack(raw), 10, "a receipt")
    need(receipt[2] == header["height"] - 1, "the receipt is of another height")
    names = ("txid", "wtxid", "height", "index", "reason", "detail", "fee", "gas_wanted", "gas_used", "events")
    return {name: item.hex() if isinstance(item, bytes) else item for name, item in zip(names, receipt)}


def verify(raw, options, now):
    """Check a whole file; return what it proves. Raises Wrong."""
    genesis, blocks, earlier, records, receipts = array(unpack(raw), 5, "the file")
    octets(genesis, "genesis")
    way = [Block(one) for one in items(blocks, "blocks")]
    need(1 <= len(way) <= 1024, "the way has 1 to 1024 blocks")
    header = way[-1].header
    for value in items(earlier, "earlier headers"):
        below = Header(value)
        follows = below["height"] == header["height"] - 1 and below.id == header["previous"]
        need(follows, "a header is not the one below")
        header = below
    proven = [check_record(header["state_root"], one) for one in items(records, "records")]
    keys = [key for key, _ in proven]
    need(all(a < b for a, b in zip(keys, keys[1:])), "the records are not in order")
    need(len(items(receipts, "receipts")) <= 1, "a file holds one receipt at most")
    receipt = check_receipt(receipts[0], header) if receipts else None
    chain_id, period = check_root(way[0], genesis, options, now)
    for block in way:
        block.check(chain_id)
    for trusted, new in zip(way, way[1:]):
        check_step(trusted, new, now, period)
    last = way[-1]
    return {
        "chain_id": chain_id.hex(), "state_after_block": header["height"] - 1, "header": header.id.hex(),
        "signed_block": last.header["height"], "signed_hash": last.header.id.hex(),
        "signed_power": f"{last.power} of {last.total}", "age_s": (now - last.header["time"]) / 1000,
        "records": [
            {"key": readable(key), "value": None if value is None else value.hex()} for key, value in proven
        ],
        "receipt": receipt,
    }


def readable(key):
    """Return a raw key with its text as text and the rest as hexadecimal digits."""
    words = key.split(b"/")
    for count in range(len(words) - 1, 0, -1):
        head = b"/".join(words[:count]) + b"/"
        if head.replace(b"/", b"").isalpha() and head.isascii():
            rest = key[len(head) :]
            return head.decode() + (rest.decode() if rest.isalpha() and rest.isascii() else rest.hex())
    return key.hex()


def main(arguments=None):
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--trust-height", type=int)
    parser.add_argument("--trust-hash")
    parser.add_argument("--chain-id")
    parser.add_argument("--now", type=int, help="ms since 1970; by default this machine's clock")
    options = parser.parse_args(arguments)
    if bool(options.chain_id) == bool(options.trust_hash and options.trust_height):
        parser.error("name what you trust: --trust-height and --trust-hash, or --chain-id")
    try:
        with open(options.file, "rb") as file:
            raw = file.read()
        found = verify(raw, options, time.time_ns() // 1_000_000 if options.now is None else options.now)
    except (Wrong, OSError) as wrong:
        print(f"refused: {wrong}", file=sys.stderr)
        return 1
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
