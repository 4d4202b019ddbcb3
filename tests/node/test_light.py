"""Light queries against one untrusted node, and answers that were tampered with."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from consensus.signing import SchemeVerifier
from crypto.errors import Reason, Refused
from node.api.server import serve_api
from node.client import AsyncClient, Client
from node.light import (
    GenesisRoot,
    HeaderRoot,
    LightAnswer,
    Question,
    RememberingVerifier,
    Root,
    answer_codec,
    fetch,
    verify_answer,
)
from state.encoding import encode
from state.genesis import genesis_hash
from state.records import balance_key, decode_amount, nonce_key
from state.types import NATIVE, Address, BlockId, Height, TxId
from tests.node.lab import Lab
from tests.node.served import Served, served_node

BOB = Address(b"\x07" * 32)
NOBODY = Address(b"\x08" * 32)
BALANCE = Question((balance_key(BOB, NATIVE),))


def _now() -> int:
    return time.time_ns() // 1_000_000


def _young(folder: Path, size: int = 1) -> Lab:
    lab = Lab(folder, size=size)
    lab.genesis = msgspec.structs.replace(lab.genesis, time=_now())
    return lab


@asynccontextmanager
async def _paid(folder: Path, payments: int = 3) -> AsyncIterator[tuple[Served, TxId]]:
    async with served_node(folder, _young(folder)) as served:
        txid = b""
        for nonce in range(payments):
            signed = served.lab.pay(served.node, 0, nonce, BOB, 5)
            await served.client.submit_one(signed.raw, wait="committed")
            txid = txid or signed.txid
        height = served.node.service.height
        with trio.fail_after(10):
            while served.node.service.height <= height:  # the block that proves the last payment
                await trio.sleep(0.02)
        yield served, TxId(txid)


async def _fetch(served: Served, root: Root, question: Question) -> LightAnswer:
    def ask() -> LightAnswer:
        with Client(served.url) as client:
            return fetch(client, root, question, _now(), RememberingVerifier(SchemeVerifier()), lambda _: None)

    return await trio.to_thread.run_sync(ask)


def _reason(root: Root, question: Question, answer: LightAnswer, now: int | None = None) -> Reason:
    with pytest.raises(Refused) as caught:
        verify_answer(root, question, answer, now or _now(), SchemeVerifier())
    return caught.value.reason


async def test_values_are_proven_from_the_genesis_hash_alone(tmp_path: Path) -> None:
    async with _paid(tmp_path) as (served, txid):
        root = GenesisRoot(genesis_hash(served.lab.genesis))
        question = Question((balance_key(BOB, NATIVE), balance_key(NOBODY, NATIVE), nonce_key(NOBODY)))
        answer = await _fetch(served, root, question)
        verified = verify_answer(root, question, answer_codec.decode(encode(answer)), _now(), SchemeVerifier())
        assert verified.values[0] is not None and decode_amount(verified.values[0]) == 15
        assert verified.values[1:] == (None, None)
        assert (verified.signatures, verified.validators, verified.power, verified.total_power) == (1, 1, 10, 10)
        assert verified.header.height == verified.height + 1
        asked = Question(txid=txid)
        verified = verify_answer(root, asked, await _fetch(served, root, asked), _now(), SchemeVerifier())
        assert verified.receipt is not None and verified.receipt.txid == txid and verified.receipt.reason == ""


async def test_values_are_proven_from_a_trusted_block(tmp_path: Path) -> None:
    async with _paid(tmp_path) as (served, _):
        header = served.node.service.header(Height(2))
        root = HeaderRoot(Height(2), header.block_id)
        answer = await _fetch(served, root, BALANCE)
        verified = verify_answer(root, BALANCE, answer, _now(), SchemeVerifier())
        assert verified.values[0] is not None and decode_amount(verified.values[0]) == 15
        assert answer.genesis == () and answer.blocks[0].height == 2
        tip = HeaderRoot(served.node.service.height, served.node.service.header(served.node.service.height).block_id)
        assert len((await _fetch(served, tip, BALANCE)).blocks) == 1


async def test_wrong_roots_and_questions_are_refused(tmp_path: Path) -> None:
    async with _paid(tmp_path) as (served, txid):
        root = GenesisRoot(genesis_hash(served.lab.genesis))
        answer = await _fetch(served, root, BALANCE)
        header = answer.blocks[0].header
        other = GenesisRoot(type(root.chain_id)(b"\x01" * 32))
        assert _reason(other, BALANCE, answer) is Reason.WRONG_CHAIN
        assert _reason(HeaderRoot(Height(1), header.block_id), BALANCE, answer) is Reason.MALFORMED
        bare = msgspec.structs.replace(answer, genesis=())
        assert _reason(root, BALANCE, bare) is Reason.MALFORMED
        assert _reason(HeaderRoot(Height(1), BlockId(b"\x02" * 32)), BALANCE, bare) is Reason.BAD_HEADER
        assert _reason(HeaderRoot(Height(9), header.block_id), BALANCE, bare) is Reason.WRONG_HEIGHT
        assert _reason(HeaderRoot(Height(1), header.block_id, 1), BALANCE, bare) is Reason.TRUST_EXPIRED
        late = _now() + served.lab.genesis.security.trust_period + 1000
        assert _reason(root, BALANCE, answer, late) is Reason.TRUST_EXPIRED
        assert _reason(root, BALANCE, answer, header.time - 60_000) is Reason.BAD_TIME
        assert _reason(root, Question((balance_key(NOBODY, NATIVE),)), answer) is Reason.BAD_PROOF
        assert _reason(root, Question(), answer) is Reason.MALFORMED
        assert _reason(root, Question(txid=txid), answer) is Reason.MALFORMED
        receipt = await _fetch(served, root, Question(txid=txid))
        assert _reason(root, Question(txid=TxId(bytes(32))), receipt) is Reason.BAD_PROOF


async def test_an_old_genesis_is_no_root_of_trust(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:  # the lab's own genesis is years old
        signed = served.lab.pay(served.node, 0, 0, BOB, 5)
        await served.client.submit_one(signed.raw, wait="committed")
        with pytest.raises(Refused) as caught:
            await _fetch(served, GenesisRoot(genesis_hash(served.lab.genesis)), BALANCE)
        assert caught.value.reason is Reason.TRUST_EXPIRED


async def _recorded(folder: Path) -> tuple[GenesisRoot, list[tuple[Question, bytes]], int]:
    """Answers of a chain with four validators: more than two thirds may sign, and a block holds several receipts."""
    lab = _young(folder, size=4)
    async with lab.nodes(range(4)) as nodes, trio.open_nursery() as nursery:
        port = await nursery.start(serve_api, nodes[0].service, "::1", 0)
        async with AsyncClient(f"http://[::1]:{port}") as client:
            served = Served(lab, nodes[0], client)
            payments = [lab.pay(nodes[0], wallet, 0, BOB, 5 + wallet) for wallet in (0, 1)]
            await client.submit([one.raw for one in payments], wait="committed", timeout=30)
            with trio.fail_after(30):
                while nodes[0].service.height <= nodes[0].service.receipt(payments[0].txid).height:
                    await trio.sleep(0.02)
            root = GenesisRoot(genesis_hash(lab.genesis))
            questions = [BALANCE, Question(txid=payments[0].txid)]
            recorded = [(one, encode(await _fetch(served, root, one))) for one in questions]
        nursery.cancel_scope.cancel()
    return root, recorded, _now()


REMEMBERING = RememberingVerifier(SchemeVerifier())
"""Signatures that a flip did not touch are not verified again: their triple of key, message and bytes is the same."""


def _check_flip(root: Root, question: Question, raw: bytes, place: int, mask: int, now: int) -> None:
    changed = bytearray(raw)
    changed[place] ^= mask
    with pytest.raises(Refused) as caught:
        verify_answer(root, question, answer_codec.decode(bytes(changed)), now, REMEMBERING)
    assert caught.value.reason in Reason


async def test_flipped_bytes_are_refused(tmp_path: Path) -> None:
    root, recorded, now = await _recorded(tmp_path)
    draw = random.Random(7)
    for question, raw in recorded:
        verify_answer(root, question, answer_codec.decode(raw), now, SchemeVerifier())
        for place in draw.sample(range(len(raw)), 400):
            _check_flip(root, question, raw, place, 1 << draw.randrange(8), now)


@pytest.mark.slow
async def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    root, recorded, now = await _recorded(tmp_path)
    for question, raw in recorded:
        for place in range(len(raw)):
            _check_flip(root, question, raw, place, 0xFF if place % 2 else 0x01, now)
