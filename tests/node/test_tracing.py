"""Traces, histories and statuses of transactions that a real node put into blocks."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from apps.token.messages import Deposit, NewCoin
from crypto.address import encode_address
from crypto.confidential import Opening, default_proofs
from crypto.errors import Reason, Refused
from node.api import methods, shapes
from node.cli.main import main
from node.cli.tracing import gather
from node.client import Client
from node.hidden.scripting import ScriptPlan, Spent, draft_outputs, draft_script
from node.logs import configure_logging
from node.steps import Step, Verdict
from node.tracing import Gathered, trace
from node.wallet import Draft, Signed, call, message, sign_draft
from state.encoding import encode
from state.transaction import (
    NO_SCRIPT,
    NOTE_SIZE,
    NOTHING,
    Coin,
    HiddenCoin,
    OutPoint,
    Output,
    State,
    decode_transaction,
)
from state.types import MAX_INT, NATIVE, Address, Amount, Height
from state.zkvm.assembly import assemble_program
from state.zkvm.scripts import prove_call
from tests.apps.hiding import shown
from tests.node.served import Served, served_node

COIN = 1_000_000
FEE = Amount(100_000)
PROGRAM = assemble_program("outputcoin 0\nrange 32\ndrop\ndrop\ndrop\n", {})


@pytest.fixture(autouse=True)
def _quiet() -> None:
    configure_logging("error", "json", sys.__stderr__ or sys.stderr)


@dataclass
class Contract:
    """What alice does on a node: a contract of three states beside hidden coins, and a program."""

    served: Served
    openings: dict[bytes, Opening] = field(default_factory=dict)
    sent: list[Signed] = field(default_factory=list)

    @property
    def alice(self) -> Address:
        return Address(self.served.lab.wallet_keys[0].address)

    async def send(self, draft: Draft) -> list[Spent]:
        signed = sign_draft(draft, {self.alice: self.served.lab.wallet_keys[0]})
        await self.served.client.submit_one(signed.raw, wait="committed")
        self.sent.append(signed)
        payload: Any = draft.body.payload
        return [Spent(OutPoint(signed.txid, index), output) for index, output in enumerate(payload.outputs)]

    async def deposit(self, count: int) -> list[Spent]:
        coins = tuple(NewCoin(self.alice, Amount(COIN)) for _ in range(count))
        lab, messages = self.served.lab, [message("token/deposit", Deposit(NATIVE, coins))]
        signed = call(lab.point(self.served.node), lab.account(0), lab.wallet_keys[0], 0, messages)
        await self.served.client.submit_one(signed.raw, wait="committed")
        self.sent.append(signed)
        coin = Coin(NATIVE, self.alice, Amount(COIN))
        return [Spent(OutPoint(signed.txid, index), coin) for index in range(count)]

    def outputs(self, spent: Sequence[Spent], made: Sequence[Output]) -> Draft:
        lab = self.served.lab
        accounts = [replace(lab.account(0), registered=True)]
        return draft_outputs(lab.point(self.served.node), spent, made, self.openings, accounts, FEE, os.urandom)

    def script(self, spent: Sequence[Spent], made: Sequence[Output]) -> Draft:
        lab = self.served.lab
        plan = ScriptPlan(tuple(spent), tuple(made), self.openings, PROGRAM, prove_call([PROGRAM], 0))
        accounts = [replace(lab.account(0), registered=True)]
        return draft_script(lab.point(self.served.node), plan, accounts, FEE, os.urandom)

    def hidden(self, amount: int) -> HiddenCoin:
        opening = Opening(amount, int.from_bytes(os.urandom(31), "little"))
        commitment = default_proofs().commit(opening)
        self.openings[commitment] = opening
        return HiddenCoin(NATIVE, self.alice, commitment, os.urandom(NOTE_SIZE))

    def state(self, nonce: int, *variables: bytes) -> State:
        return State(nonce, NO_SCRIPT, self.alice, NATIVE, NOTHING, variables, Height(0), Height(MAX_INT))

    def coin(self, amount: int) -> Coin:
        return Coin(NATIVE, self.alice, Amount(amount))

    async def live(self) -> None:
        """Deposit, begin, go on with hidden coins, run a program, end: five transactions."""
        coins = await self.deposit(4)
        began = await self.send(self.outputs(coins[:1], [self.state(0, b"\1", b"one"), self.coin(COIN - FEE)]))
        made: list[Output] = [self.state(1, b"\2"), self.hidden(600_000), self.hidden(300_000)]
        second = await self.send(self.outputs([began[0], coins[1]], made))
        await self.send(self.script([second[1]], [self.hidden(500_000)]))
        await self.send(self.outputs([second[0], coins[2]], [self.coin(COIN - FEE)]))


async def asked(served: Served, question: methods.Ask[Any]) -> Any:
    return await served.client.ask(question)


async def traced(served: Served, raw: bytes) -> tuple[Gathered, list[Step]]:
    """Trace as the command does, which asks without trio."""

    def work() -> Gathered:
        with Client(served.url) as client:
            return gather(client, decode_transaction(raw))

    known = await trio.to_thread.run_sync(work)
    return known, trace(known)


def verdicts(steps: Sequence[Step]) -> list[tuple[str, str]]:
    return [(step.step, step.verdict.value) for step in steps]


def step(steps: Sequence[Step], name: str) -> Step:
    (found,) = [one for one in steps if one.step == name]
    return found


async def test_steps_of_every_kind_of_transaction(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        contract = Contract(served)
        await contract.live()
        deposit, begin, go_on, program, _ = [(await traced(served, one.raw))[1] for one in contract.sent]
        assert verdicts(deposit) == [
            ("form", "holds"), ("signers", "holds"), ("nonce", "done"), ("gas", "holds"), ("messages", "done"),
            ("receipt", "done"),
        ]
        assert [one["message"] for one in step(deposit, "messages").items] == ["token/deposit"]
        before = [("form", "holds"), ("signers", "holds"), ("inputs removed", "holds"), ("sums", "holds")]
        assert verdicts(begin) == [*before, ("gas", "holds"), ("outputs added", "done"), ("receipt", "done")]
        (spent,) = step(begin, "inputs removed").items
        assert (spent["type"], spent["amount"], spent["found in"]) == ("coin", str(COIN), "the receipt")
        assert [one["type"] for one in step(begin, "outputs added").items] == ["state", "coin"]
        proofs = [("proof of excess", "holds"), ("proof of range", "holds")]
        assert verdicts(go_on) == [*before, ("gas", "holds"), *proofs, ("outputs added", "done"), ("receipt", "done")]
        (sums,) = step(go_on, "sums").items
        assert (sums["turnstile"], sums["hidden made"], sums["fee"]) == (f"{COIN - FEE:+d}", 2, str(FEE))
        assert step(go_on, "inputs removed").items[0]["found in"] == "its transaction"
        assert verdicts(program) == [
            *before, ("program", "holds"), ("gas", "holds"), *proofs, ("proof of program", "holds"),
            ("outputs added", "done"), ("receipt", "done"),
        ]
        facts = step(program, "program").facts
        assert facts["instructions"] == 5 and facts["multipliers"] >= 32 and facts["constraints"] > 0
        assert int(step(program, "gas").facts["wanted"]) == int(step(program, "receipt").facts["gas used"])


async def test_a_false_proof_and_a_wrong_signature_are_seen_where_they_are(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        contract = Contract(served)
        coins = await contract.deposit(1)
        draft = contract.outputs(coins, [contract.hidden(600_000), contract.hidden(300_000)])
        good = decode_transaction(sign_draft(draft, {contract.alice: served.lab.wallet_keys[0]}).raw)
        proof, (witness,) = shown(good), good.transaction.witnesses
        ranges = msgspec.structs.replace(proof, ranges=proof.ranges[:-1] + bytes([proof.ranges[-1] ^ 1]))
        excess = msgspec.structs.replace(proof, excesses=(proof.excesses[0][:32] + bytes(32),))
        signature = msgspec.structs.replace(witness, signature=witness.signature[:-1] + b"\7")
        for change, name in (
            ({"proofs": (ranges,)}, "proof of range"), ({"proofs": (excess,)}, "proof of excess"),
            ({"witnesses": (signature,)}, "signers"),
        ):
            raw = encode(msgspec.structs.replace(good.transaction, **change))
            known, steps = await traced(served, raw)
            assert known.simulated
            assert [one.step for one in steps if one.verdict is Verdict.FAILS] == [name]
        known, steps = await traced(served, good.raw)
        assert {one.verdict for one in steps} == {Verdict.HOLDS, Verdict.DONE}
        nowhere = known._replace(found=(known.found[0]._replace(output=None, source="nowhere"),))
        unknown = [one.step for one in trace(nowhere) if one.verdict is Verdict.UNKNOWN]
        assert unknown == ["signers", "inputs removed", "sums", "gas"]


async def test_a_contract_has_a_history(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        contract = Contract(served)
        await contract.live()
        _, begin, go_on, _, end = contract.sent
        question = methods.GetStateHistory(txid=go_on.txid.hex(), index=0)
        history: shapes.StateHistory = await asked(served, question)
        assert [(int(one.nonce), one.txid, one.variables, one.unspent) for one in history.versions] == [
            (0, begin.txid.hex(), ["01", b"one".hex()], False), (1, go_on.txid.hex(), ["02"], False),
        ]
        receipts = [await asked(served, methods.GetReceipt(txid=one.txid.hex())) for one in (begin, go_on, end)]
        heights = [int(one.receipt.height) for one in receipts]
        assert [int(one.height or 0) for one in history.versions] == heights[:2]
        assert history.ended == shapes.StateEnd(txid=end.txid.hex(), height=receipts[2].receipt.height)
        assert history.complete and history.next is None
        page = await asked(served, msgspec.structs.replace(question, limit=1))
        assert (len(page.versions), page.next) == (1, 1)
        page = await asked(served, msgspec.structs.replace(question, limit=1, first=str(int(page.next))))
        assert [one.txid for one in page.versions] == [go_on.txid.hex()] and page.next is None
        with pytest.raises(Refused) as caught:
            await asked(served, methods.GetStateHistory(txid=go_on.txid.hex(), index=1))
        assert caught.value.reason is Reason.OUTPUT_NOT_FOUND


async def test_a_transaction_has_a_status(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        lab, client = served.lab, served.client
        good = lab.pay(served.node, 0, 0, Address(b"\7" * 32), 5)
        poor = lab.pay(served.node, 1, 0, Address(b"\7" * 32), 10**18)
        for signed, status in ((good, "succeeded"), (poor, "failed")):
            question = methods.GetTransactionStatus(txid=signed.txid.hex())
            assert (await client.ask(question)).status == "unknown"
            await client.submit_one(signed.raw, wait="committed")
            found = await client.ask(question)
            assert found.status == status and found.height is not None
            assert found.reason == ("" if status == "succeeded" else Reason.INSUFFICIENT_FUNDS.value)
        later = lab.pay(served.node, 0, 3, Address(b"\7" * 32), 5)
        await client.submit_one(later.raw)
        assert (await client.ask(methods.GetTransactionStatus(txid=later.txid.hex()))).status == "waiting"


async def test_outputs_are_listed_by_type_and_counted(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        contract = Contract(served)
        coins = await contract.deposit(2)
        made: list[Output] = [contract.state(0), contract.hidden(600_000), contract.hidden(300_000)]
        await contract.send(contract.outputs(coins[:1], made))
        owner = encode_address(contract.alice)
        for kind, count in (("coin", 1), ("state", 1), ("hiddencoin", 2), ("memo", 0), ("any", 4)):
            question = msgspec.convert({"address": owner, "kind": kind}, methods.GetOutputs)
            listed = (await asked(served, question)).outputs
            assert len(listed) == count and {one.kind for one in listed} <= {kind, "coin", "state", "hiddencoin"}
        counts = served.node.core.chain.store.output_counts
        assert (counts.coins, counts.memos, counts.states) == (3, 0, 1)


async def test_the_command_line_shows_both(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        contract = Contract(served)
        await contract.live()
        _, begin, go_on, _, _ = contract.sent
        file = tmp_path / "transaction"
        file.write_text(go_on.raw.hex())

        def nexus(*words: str) -> Any:
            out = io.StringIO()
            with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as exited:
                main(["--node", served.url, "--home", str(tmp_path / "home"), *words])
            assert exited.value.code == 0
            return out.getvalue()

        async def shown(*words: str) -> Any:
            return json.loads(await trio.to_thread.run_sync(lambda: nexus("--output", "json", *words)))

        by_id, by_file = await shown("tx", "trace", go_on.txid.hex()), await shown("tx", "trace", str(file))
        assert by_id == by_file
        assert [one["step"] for one in by_id["steps"]][-2:] == ["outputs added", "receipt"]
        text = await trio.to_thread.run_sync(lambda: nexus("tx", "trace", go_on.txid.hex()))
        assert "proof of excess" in text
        history = await shown("query", "state-history", f"{begin.txid.hex()}:0")
        assert [one["nonce"] for one in history["versions"]] == ["0", "1"] and history["complete"]
        assert (await shown("query", "tx-status", go_on.txid.hex()))["status"] == "succeeded"
