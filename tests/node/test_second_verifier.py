"""The verifier in docs/verifier, which shares no code with the node, against ours: on good files and on bent ones."""

import importlib.util
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from apps.receipts import prove_receipt, receipts_root
from consensus.signing import SchemeVerifier
from consensus.types import ValidatorSet
from crypto.address import encode_address
from crypto.errors import Refused
from crypto.keys import SecretKey
from crypto.schemes import Scheme, multisig_members, multisig_public_key, multisig_signature
from crypto.schemes import verify as schemes_verify
from node.api import methods
from node.light.answer import (
    LightAnswer,
    ReceiptEvidence,
    RememberingVerifier,
    answer_codec,
    check_receipt,
    sides,
    verify_answer,
)
from node.light.answering import ProvenAnswers
from node.light.client import Surroundings
from node.light.opening import Place, open_light
from node.light.roots import GenesisRoot, HeaderRoot, Root
from state.encoding import encode
from state.receipt import Event, Receipt
from state.types import Amount, Height, TxId, WtxId
from testnet.headers import Forge, ForgedNode
from tests.node.test_light_attacks import ALICE, CHAIN, GENESIS, KEYS, ROOT, SIGNERS, a_set

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "verifier" / "verify_proof.py"
OURS = RememberingVerifier(SchemeVerifier())


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("verify_proof", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SECOND = _load()


class Options:
    """What the command line of the second verifier gives."""

    def __init__(self, root: Root) -> None:
        self.chain_id = root.chain_id.hex() if isinstance(root, GenesisRoot) else None
        self.trust_height = root.height
        self.trust_hash = root.block_id.hex() if isinstance(root, HeaderRoot) else None


def second(root: Root, raw: bytes, now: int) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = SECOND.verify(raw, Options(root), now)
    except SECOND.Wrong:
        return None
    return found


def ours(root: Root, raw: bytes, now: int) -> bool:
    try:
        verify_answer(root, answer_codec.decode(raw), now, OURS)
    except Refused:
        return False
    return True


CHANGES = {10: a_set(*KEYS[1:5]), 20: a_set(*KEYS[3:7]), 30: a_set(KEYS[0], *KEYS[5:8])}
CHANGING = Forge(GENESIS, SIGNERS, CHANGES).chain(40)
NOW = CHAIN.headers[-1].time


async def answers_of(root: Root) -> ProvenAnswers:
    node = ForgedNode("node", CHANGING)
    around = Surroundings(node, (), lambda: NOW, OURS, lambda told: None)
    return await open_light(Place(Path("none"), root, keep=False), around)


async def exported(root: Root, *questions: methods.Ask[Any]) -> list[bytes]:
    answers = await answers_of(root)
    return [encode(await answers.record(await answers.answer(question))) for question in questions]


QUESTIONS: Sequence[methods.Ask[Any]] = (
    methods.GetBalance(address=encode_address(ALICE)), methods.GetAsset(asset="ab" * 32), methods.GetParams(),
    methods.GetValidators(), methods.GetHeader(height="35"),
)


async def test_both_take_good_files_and_read_the_same_values() -> None:
    recent = HeaderRoot(Height(25), CHANGING.headers[24].block_id)
    for root in (ROOT, recent):
        for raw in await exported(root, *QUESTIONS):
            verified = verify_answer(root, answer_codec.decode(raw), NOW, OURS)
            found = second(root, raw, NOW)
            assert found is not None and found["state_after_block"] == verified.header.height - 1
            values = [None if value is None else value.hex() for _, value in sorted(verified.values.items())]
            assert [record["value"] for record in found["records"]] == values


async def test_both_refuse_wrong_roots_and_wrong_times() -> None:
    (raw,) = await exported(ROOT, QUESTIONS[0])
    period = GENESIS.security.trust_period
    cases: list[tuple[Root, int]] = [
        (GenesisRoot(type(ROOT.chain_id)(bytes(32))), NOW), (ROOT, NOW + period), (ROOT, NOW - 60_000),
        (HeaderRoot(Height(1), CHANGING.headers[1].block_id), NOW),
        (HeaderRoot(Height(2), CHANGING.headers[1].block_id), NOW),
    ]
    assert ours(ROOT, raw, NOW) and second(ROOT, raw, NOW) is not None
    for root, now in cases:
        assert not ours(root, raw, now) and second(root, raw, now) is None


async def test_both_judge_bent_files_alike() -> None:
    draw = random.Random(11)
    for raw in await exported(ROOT, QUESTIONS[0], QUESTIONS[4]):
        for _ in range(150):
            bent = bytearray(raw)
            match draw.randrange(3):
                case 0:
                    bent[draw.randrange(len(bent))] ^= 1 << draw.randrange(8)
                case 1:
                    del bent[draw.randrange(len(bent)) :]
                case _:
                    place = draw.randrange(len(bent))
                    bent[place:place] = draw.randbytes(draw.randint(1, 4))
            assert not ours(ROOT, bytes(bent), NOW) and second(ROOT, bytes(bent), NOW) is None


async def test_both_judge_files_alike_whose_parts_were_exchanged() -> None:
    (raw,) = await exported(ROOT, methods.GetAccount(address=encode_address(ALICE)))
    good = answer_codec.decode(raw)
    last = good.blocks[-1]
    replace = msgspec.structs.replace
    turned = ValidatorSet(last.validators.validators[::-1])
    few = replace(last.commit, signatures=last.commit.signatures[:2])
    bent: list[LightAnswer] = [
        replace(good, blocks=good.blocks[1:]), replace(good, blocks=(good.blocks[0], last)),
        replace(good, blocks=good.blocks[::-1]), replace(good, blocks=(*good.blocks, last)),
        replace(good, blocks=(*good.blocks[:-1], replace(last, validators=turned))),
        replace(good, blocks=(*good.blocks[:-1], replace(last, commit=few))),
        replace(good, records=good.records[::-1]), replace(good, records=good.records * 2),
        replace(good, earlier=(good.blocks[0].header,)), replace(good, genesis=good.genesis[:-1]),
        replace(good, records=tuple(replace(one, key=one.key + b"x") for one in good.records)),
    ]
    assert len(good.blocks) > 3
    for answer in bent:
        assert not ours(ROOT, encode(answer), NOW) and second(ROOT, encode(answer), NOW) is None, answer
    # what leaves something out that is not needed stays good for both
    enough = replace(last, commit=replace(last.commit, signatures=last.commit.signatures[:3]))
    less = encode(replace(good, blocks=(*good.blocks[:-1], enough), records=good.records[:1]))
    assert ours(ROOT, less, NOW) and second(ROOT, less, NOW) is not None


async def test_the_command_line_says_what_is_proven_or_what_is_wrong(tmp_path: Path) -> None:
    (raw,) = await exported(ROOT, QUESTIONS[0])
    file = tmp_path / "answer"
    file.write_bytes(raw)
    words = [sys.executable, str(SCRIPT), str(file), "--chain-id", ROOT.chain_id.hex(), "--now", str(NOW)]
    done = subprocess.run(words, capture_output=True, check=True, text=True)
    assert msgspec.json.decode(done.stdout)["state_after_block"] == 39
    file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    failed = subprocess.run(words, capture_output=True, check=False, text=True)
    assert failed.returncode == 1 and failed.stderr.startswith("refused: ")


def _keys() -> dict[str, tuple[bytes, Callable[[bytes], bytes]]]:
    """Public keys of each scheme, and what signs under them."""
    plain, hybrid, third = SecretKey.generate(), SecretKey.generate(Scheme.HYBRID), SecretKey.generate()
    joint = multisig_public_key(2, [plain.public_key, hybrid.public_key, third.public_key])
    members = multisig_members(joint)[1]

    def sign_jointly(message: bytes) -> bytes:
        signers = {members.index(key.public_key): key.sign(message) for key in (plain, hybrid)}
        return multisig_signature(joint, signers)

    return {
        "falcon": (plain.public_key, plain.sign), "hybrid": (hybrid.public_key, hybrid.sign),
        "joint": (joint, sign_jointly),
    }


@pytest.mark.parametrize("scheme", ["falcon", "hybrid", "joint"])
def test_signatures_of_every_scheme_are_judged_alike(scheme: str) -> None:
    key, sign = _keys()[scheme]
    message, draw = bytes(range(32)), random.Random(5)
    signature = sign(message)
    assert schemes_verify(key, message, signature) and SECOND.holds(key, message, signature)
    assert not SECOND.holds(key, message[::-1], signature)
    for _ in range(60):
        bent_key, bent = bytearray(key), bytearray(signature)
        target = bent if draw.random() < 0.7 else bent_key
        match draw.randrange(3):
            case 0:
                target[draw.randrange(min(len(target), 100))] ^= 1 << draw.randrange(8)
            case 1:
                target[draw.randrange(len(target))] ^= 1 << draw.randrange(8)
            case _:
                del target[draw.randrange(1, len(target)) :]
        ours_says = schemes_verify(bytes(bent_key), message, bytes(bent))
        assert SECOND.holds(bytes(bent_key), message, bytes(bent)) == ours_says


def test_ed25519_points_of_small_order_are_refused_as_by_ours() -> None:
    """Keys and commitments under which a signature of zeros would hold for any message."""
    small = [
        bytes(32), b"\x01" + bytes(31), (2**255 - 20).to_bytes(32, "little"), b"\xec" + b"\xff" * 30 + b"\x7f",
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    ]
    for point in small:
        for scalar in (bytes(32), b"\x01" + bytes(31)):
            assert not SECOND.ed25519_holds(point, b"message", point + scalar)
            with pytest.raises(BadSignatureError):
                VerifyKey(point).verify(b"message", point + scalar)


def test_it_shares_no_code_with_the_node() -> None:
    text = SCRIPT.read_text()
    names = {line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert names - set(sys.stdlib_module_names) == {"msgpack", "pqcrypto"}


def test_receipts_are_judged_alike() -> None:
    """The way of each receipt of blocks of every small size, and bent ones."""
    event = Event("token/transfer", (("amount", "5"),))
    for size in range(1, 10):
        receipts = [
            Receipt(TxId(bytes([place]) * 32), WtxId(bytes(32)), Height(6), place, "", "", Amount(0), 0, 0, (event,))
            for place in range(size)
        ]
        header = msgspec.structs.replace(CHAIN.headers[6], receipts_root=receipts_root(receipts))
        for place, receipt in enumerate(receipts):
            proof = prove_receipt(receipts, place)
            evidence = ReceiptEvidence(encode(receipt), sides(place, proof.size, proof.path))
            assert check_receipt(evidence, header) == receipt
            found = SECOND.check_receipt(SECOND.unpack(encode(evidence)), {"receipts_root": header.receipts_root,
                                                                             "height": header.height})  # fmt: skip
            assert (found["index"], found["txid"]) == (place, receipt.txid.hex())
            other = msgspec.structs.replace(evidence, receipt=encode(msgspec.structs.replace(receipt, fee=Amount(1))))
            with pytest.raises(Refused):
                check_receipt(other, header)
            with pytest.raises(SECOND.Wrong):
                SECOND.check_receipt(SECOND.unpack(encode(other)), {"receipts_root": header.receipts_root,
                                                                    "height": header.height})  # fmt: skip
