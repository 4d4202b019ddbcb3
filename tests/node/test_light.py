"""Light queries against one untrusted node, and answers that were tampered with."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from apps.token.messages import Approve, Deposit, Issue, Lock, NewCoin
from consensus.signing import SchemeVerifier
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from node.api import methods
from node.api.server import serve_api
from node.cli.trust import clock
from node.client import AsyncClient
from node.light.answer import LightAnswer, RememberingVerifier, answer_codec, verify_answer
from node.light.answering import Answered, ProvenAnswers, recorded_outcome
from node.light.client import Surroundings
from node.light.listing import prove_outputs
from node.light.opening import Place, open_light
from node.light.proving import MissingRecord, evaluate, evaluation
from node.light.roots import GenesisRoot, HeaderRoot, Root
from node.light.source import Source
from node.wallet import call, message
from state.encoding import encode
from state.genesis import genesis_hash
from state.records import asset_id, encode_output, output_key
from state.transaction import Memo, State
from state.types import NATIVE, Address, Amount, BlockId, Height, TxId
from tests.node.lab import Lab
from tests.node.served import Served, served_node

BOB = Address(b"\x07" * 32)
NOBODY = Address(b"\x08" * 32)
BALANCE = methods.GetBalance(address=encode_address(BOB))
REMEMBERING = RememberingVerifier(SchemeVerifier())
"""Signatures that a flip did not touch are not verified again: their triple of key, message and bytes is the same."""


def young_lab(folder: Path, size: int = 1) -> Lab:
    """Return a network whose genesis is of now: a light client trusts nothing that is old."""
    lab = Lab(folder, size=size)
    lab.genesis = msgspec.structs.replace(lab.genesis, time=clock())
    return lab


@asynccontextmanager
async def _paid(folder: Path, payments: int = 3, lab: Lab | None = None) -> AsyncIterator[tuple[Served, TxId]]:
    async with served_node(folder, lab or young_lab(folder)) as served:
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


async def light(served: Served, root: Root, folder: Path | None = None) -> ProvenAnswers:
    around = Surroundings(served.client, (), clock, REMEMBERING, lambda told: None)
    place = Place(folder or Path("none"), root, keep=folder is not None)
    return await open_light(place, around)


def reason_of(root: Root, answer: LightAnswer, now: int | None = None) -> Reason:
    with pytest.raises(Refused) as caught:
        verify_answer(root, answer, now or clock(), REMEMBERING)
    return caught.value.reason


async def ask(answers: ProvenAnswers, question: methods.Ask[Any]) -> tuple[Answered, LightAnswer]:
    answered = await answers.answer(question)
    return answered, await answers.record(answered)


class Misattributing:
    """A node that lists the outputs of somebody else."""

    def __init__(self, honest: Source, listed: Any) -> None:
        self.url, self.honest, self.listed = "liar", honest, listed

    async def ask(self, ask: Any) -> Any:
        return self.listed if isinstance(ask, methods.GetOutputs) else await self.honest.ask(ask)


def replace_height(told: Any, answered: Answered) -> Any:
    """Return a node's list of outputs as a light client says it: after the block that is proven, and not complete."""
    return msgspec.structs.replace(told, height=answered.header.height - 1, complete=False)


async def test_values_are_proven_from_the_genesis_hash_alone(tmp_path: Path) -> None:
    async with _paid(tmp_path) as (served, txid):
        root = GenesisRoot(genesis_hash(served.lab.genesis))
        answers = await light(served, root)
        answered, recorded = await ask(answers, BALANCE)
        assert answered.outcome.unwrap().amount == 15
        verified = verify_answer(root, answer_codec.decode(encode(recorded)), clock(), SchemeVerifier())
        assert verified.header == answered.header
        assert recorded_outcome(BALANCE, verified, served.lab.genesis) == answered.outcome
        nobody, _ = await ask(answers, methods.GetAccount(address=encode_address(NOBODY)))
        assert (nobody.outcome.unwrap().nonce, nobody.outcome.unwrap().balance) == (0, 0)
        question = methods.GetReceipt(txid=txid.hex())
        answered, recorded = await ask(answers, question)
        receipt = answered.outcome.unwrap().receipt
        assert (receipt.txid, receipt.reason) == (txid.hex(), "")
        verified = verify_answer(root, answer_codec.decode(encode(recorded)), clock(), SchemeVerifier())
        assert recorded_outcome(question, verified, served.lab.genesis).unwrap() == receipt


async def test_old_states_are_proven_as_far_back_as_changes_are_kept(tmp_path: Path) -> None:
    async with _paid(tmp_path, payments=14) as (served, txid):
        root = GenesisRoot(genesis_hash(served.lab.genesis))
        answers = await light(served, root)
        assert served.node.service.chain.store.oldest_provable > 4
        receipt = (await answers.answer(methods.GetReceipt(txid=txid.hex()))).outcome.unwrap().receipt
        for height in (int(receipt.height), int(receipt.height) - 1, 4):
            question = msgspec.structs.replace(BALANCE, height=str(height))
            answered, recorded = await ask(answers, question)
            assert answered.outcome.unwrap() == await served.client.ask(question)
            assert verify_answer(root, recorded, clock(), REMEMBERING).header.height == height + 1
        with pytest.raises(Refused) as caught:
            await served.client.ask(methods.GetProof(key="ab", height="900"))
        assert caught.value.reason is Reason.NOT_AVAILABLE


async def test_values_are_proven_from_a_trusted_block(tmp_path: Path) -> None:
    async with _paid(tmp_path) as (served, txid):
        service = served.node.service
        header = service.header(Height(service.height))
        answers = await light(served, HeaderRoot(header.height, header.block_id))
        answered, recorded = await ask(answers, BALANCE)
        assert answered.outcome.unwrap().amount == 15 and len(recorded.blocks) == 1
        # the receipt's block lies below the root of trust: its header is named by those above
        answered, recorded = await ask(answers, methods.GetReceipt(txid=txid.hex()))
        assert answered.header.height < header.height and recorded.earlier[-1] == answered.header
        root = HeaderRoot(header.height, header.block_id)
        assert verify_answer(root, recorded, clock(), REMEMBERING).header == answered.header


async def test_every_question_that_can_be_proven_has_the_answer_of_the_node(tmp_path: Path) -> None:
    async with _paid(tmp_path) as (served, txid):
        answers = await light(served, GenesisRoot(genesis_hash(served.lab.genesis)))
        payer = encode_address(served.lab.account(0).address)
        operator = encode_address(served.lab.genesis.validators[0].operator)
        questions: list[methods.Ask[Any]] = [
            BALANCE, methods.GetAccount(address=payer), methods.GetLocks(address=payer), methods.GetParams(),
            methods.GetAllowance(owner=payer, spender=BALANCE.address), methods.GetAsset(asset="unxs"),
            methods.GetValidators(), methods.GetHeader(height="2"), methods.GetCommit(height="2"),
            methods.GetLightBlock(height="3"), methods.GetHeaders(first="1", limit=3), methods.GetGenesis(),
            methods.GetReceipt(txid=txid.hex()), methods.GetBlock(height="2"), methods.GetBody(height="1"),
            methods.QueryModule(name="token/supply"),
            methods.QueryModule(name="auth/account", parameters={"address": payer}),
            methods.QueryModule(name="chain/params"), methods.QueryModule(name="staking/validators"),
            methods.QueryModule(name="staking/validator", parameters={"operator": operator}),
            methods.QueryModule(name="staking/delegation", parameters={"delegator": operator, "operator": operator}),
            methods.QueryModule(name="staking/unbonding", parameters={"delegator": payer}),
        ]
        for question in questions:
            proven = (await answers.answer(question)).outcome.unwrap()
            if isinstance(question, methods.GetBalance | methods.GetAllowance | methods.QueryModule):
                question = msgspec.structs.replace(question, height=str(proven.height))
            told = await served.client.ask(question)
            if isinstance(question, methods.GetLocks | methods.GetValidators):
                told = msgspec.structs.replace(told, height=proven.height)
            assert proven == told, question
        listed = (await answers.answer(methods.GetTransactionsOf(address=payer))).outcome.unwrap()
        told = await served.client.ask(methods.GetTransactionsOf(address=payer))
        assert listed.transactions == told.transactions and (told.complete, listed.complete) == (True, False)
        for question in (methods.GetPeers(), methods.GetMempool()):
            with pytest.raises(Refused) as caught:
                await answers.answer(question)
            assert caught.value.reason is Reason.NOT_VERIFIABLE


async def test_allowances_locks_assets_and_coins_are_proven(tmp_path: Path) -> None:
    async with _paid(tmp_path, payments=1) as (served, _):
        lab, client = served.lab, served.client
        who = lab.account(0).address
        gold, text = asset_id(who, "gold"), encode_address(who)
        messages = [
            message("token/issue", Issue("gold", 2, Amount(900), True, False, False)),
            message("token/approve", Approve(gold, BOB, Amount(40))),
            message("token/lock", Lock(gold, Amount(30), Height(10_000))),
            message("token/deposit", Deposit(gold, (NewCoin(BOB, Amount(20)),))),
        ]
        account = replace(lab.account(0), registered=True)
        signed = call(lab.point(served.node), account, lab.wallet_keys[0], 1, messages)
        result = await client.submit_one(signed.raw, wait="committed")
        assert result.receipt is not None and result.receipt.reason == ""
        answers = await light(served, GenesisRoot(genesis_hash(lab.genesis)))
        with trio.fail_after(10):
            while (await answers.client.update()).height <= result.receipt.height:
                await trio.sleep(0.02)

        async def proven(question: methods.Ask[Any]) -> Any:
            answered, recorded = await ask(answers, question)
            verified = verify_answer(GenesisRoot(genesis_hash(lab.genesis)), recorded, clock(), REMEMBERING)
            assert recorded_outcome(question, verified, lab.genesis) == answered.outcome
            return answered.outcome.unwrap()

        assert (await proven(methods.GetAsset(asset=gold.hex()))).supply == 900
        assert (await proven(methods.GetBalance(address=text, asset=gold.hex()))).amount == 850
        assert (await proven(methods.GetAllowance(owner=text, spender=BALANCE.address, asset=gold.hex()))).amount == 40
        (lock,) = (await proven(methods.GetLocks(address=text))).locks
        assert (lock.amount, lock.release_height) == (30, 10_000)
        told = await client.ask(methods.GetOutputs(address=BALANCE.address))
        answered = await answers.answer(methods.GetOutputs(address=BALANCE.address))
        assert answered.outcome.unwrap() == replace_height(told, answered) and told.complete
        with pytest.raises(Refused) as caught:
            await answers.record(answered)
        assert caught.value.reason is Reason.NOT_VERIFIABLE
        (listed,) = told.outputs
        other = msgspec.structs.replace(told, outputs=[msgspec.structs.replace(listed, owner=text)])
        header = (await answers.client.update()).header
        with pytest.raises(Refused) as caught:
            await prove_outputs(Misattributing(client, other), header, methods.GetOutputs(address=text), lab.genesis)
        assert caught.value.reason is Reason.BAD_PROOF
        assert await proven(methods.GetOutput(txid=listed.txid, index=listed.index)) == listed


@pytest.mark.parametrize("held", [
    Memo(bytes(32), BOB, NATIVE, b"\x05" * 32, b"hello", Height(3), Height(900)),
    State(4, b"\x06" * 32, BOB, NATIVE, b"\x05" * 32, (b"x", b"y"), Height(0), Height(900)),
])  # fmt: skip
def test_memos_and_states_are_read_from_their_records(held: Memo | State) -> None:
    txid = TxId(b"\x09" * 32)
    question = methods.GetOutput(txid=txid.hex(), index=2)
    function = evaluation(question, Height(5), Lab(Path("unused"), size=1, wallets=0).genesis)
    with pytest.raises(MissingRecord) as caught:
        evaluate(function, {})
    outcome, read = evaluate(function, {caught.value.key: encode_output(held)})
    view = outcome.unwrap()
    assert (view.kind, view.owner, view.raw) == (type(held).__name__.lower(), BALANCE.address, encode_output(held))
    assert read == {output_key(txid, 2)}


async def test_what_is_not_there_is_proven_too(tmp_path: Path) -> None:
    async with _paid(tmp_path) as (served, _):
        answers = await light(served, GenesisRoot(genesis_hash(served.lab.genesis)))
        absent: list[tuple[methods.Ask[Any], Reason]] = [
            (methods.GetOutput(txid="ab" * 32, index=0), Reason.OUTPUT_NOT_FOUND),
            (methods.GetAsset(asset="ab" * 32), Reason.UNKNOWN_ASSET),
            (
                methods.QueryModule(name="staking/validator", parameters={"operator": encode_address(NOBODY)}),
                Reason.UNKNOWN_VALIDATOR,
            ),
        ]
        for question, reason in absent:
            answered, recorded = await ask(answers, question)
            assert answered.outcome.refused is not None and answered.outcome.refused.reason is reason
            assert recorded.records and not any(record.proof.value for record in recorded.records)


async def test_wrong_roots_and_questions_are_refused(tmp_path: Path) -> None:
    async with _paid(tmp_path) as (served, txid):
        root = GenesisRoot(genesis_hash(served.lab.genesis))
        answers = await light(served, root)
        _, answer = await ask(answers, BALANCE)
        header = answer.blocks[0].header
        other = GenesisRoot(type(root.chain_id)(b"\x01" * 32))
        assert reason_of(other, answer) is Reason.WRONG_CHAIN
        assert reason_of(HeaderRoot(Height(1), BlockId(b"\x02" * 32)), answer) is Reason.BAD_HEADER
        assert reason_of(HeaderRoot(Height(9), header.block_id), answer) is Reason.WRONG_HEIGHT
        assert reason_of(HeaderRoot(Height(1), header.block_id, 1), answer) is Reason.TRUST_EXPIRED
        late = clock() + served.lab.genesis.security.trust_period + 1000
        assert reason_of(root, answer, late) is Reason.TRUST_EXPIRED
        assert reason_of(root, answer, header.time - 60_000) is Reason.BAD_TIME
        verified = verify_answer(root, answer, clock(), REMEMBERING)
        wrong: list[methods.Ask[Any]] = [
            methods.GetBalance(address=encode_address(NOBODY)), methods.GetReceipt(txid=txid.hex()),
            methods.GetAllowance(owner=BALANCE.address, spender=BALANCE.address), methods.GetHeader(height="latest"),
        ]
        for question in wrong:
            with pytest.raises(Refused) as caught:
                recorded_outcome(question, verified, served.lab.genesis)
            assert caught.value.reason is Reason.MALFORMED
        _, receipt = await ask(answers, methods.GetReceipt(txid=txid.hex()))
        with pytest.raises(Refused) as caught:
            verified = verify_answer(root, receipt, clock(), REMEMBERING)
            recorded_outcome(methods.GetReceipt(txid="00" * 32), verified, served.lab.genesis)
        assert caught.value.reason is Reason.MALFORMED


async def test_an_old_genesis_is_no_root_of_trust_but_its_every_header_is(tmp_path: Path) -> None:
    old = Lab(tmp_path, size=1)  # its genesis is years old
    async with _paid(tmp_path, payments=1, lab=old) as (served, _):
        chain_id = genesis_hash(served.lab.genesis)
        with pytest.raises(Refused) as caught:
            await light(served, GenesisRoot(chain_id))
        assert caught.value.reason is Reason.TRUST_EXPIRED
        answers = await light(served, GenesisRoot(chain_id, every_header=True))
        assert (await answers.answer(BALANCE)).outcome.unwrap().amount == 5


async def _recorded(folder: Path) -> tuple[GenesisRoot, list[bytes], int]:
    """Answers of a chain with four validators: more than two thirds may sign, and a block holds several receipts."""
    lab = young_lab(folder, size=4)
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
            answers = await light(served, root)
            questions: list[methods.Ask[Any]] = [BALANCE, methods.GetReceipt(txid=payments[0].txid.hex())]
            recorded = [encode((await ask(answers, one))[1]) for one in questions]
        nursery.cancel_scope.cancel()
    return root, recorded, clock()


def _check_flip(root: Root, raw: bytes, place: int, mask: int, now: int) -> None:
    changed = bytearray(raw)
    changed[place] ^= mask
    with pytest.raises(Refused) as caught:
        verify_answer(root, answer_codec.decode(bytes(changed)), now, REMEMBERING)
    assert caught.value.reason in Reason


async def test_flipped_bytes_are_refused(tmp_path: Path) -> None:
    root, recorded, now = await _recorded(tmp_path)
    draw = random.Random(7)
    for raw in recorded:
        verify_answer(root, answer_codec.decode(raw), now, SchemeVerifier())
        for place in draw.sample(range(len(raw)), 400):
            _check_flip(root, raw, place, 1 << draw.randrange(8), now)


@pytest.mark.slow
async def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    root, recorded, now = await _recorded(tmp_path)
    for raw in recorded:
        for place in range(len(raw)):
            _check_flip(root, raw, place, 0xFF if place % 2 else 0x01, now)
