"""Anonymous accounts on a real node: LevelDB, the API, traces, proofs for a light client."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from apps.anonymous.records import Slotted, account_id, count_accounts, held
from apps.supply import supply_differences
from crypto.errors import Reason, Refused
from node.api import methods
from node.cli.trust import clock
from node.light.answer import verify_answer
from node.light.answering import recorded_outcome
from node.light.roots import GenesisRoot
from state.genesis import genesis_hash
from state.transaction import SET_SIZE, AccountPayment, AccountProof, assemble, decode_transaction
from tests.node.people import BALANCE, FEE, People, accounts
from tests.node.served import Served, served_node
from tests.node.test_light import REMEMBERING, ask, light, young_lab
from tests.node.test_tracing import step, traced, verdicts


async def opened(served: Served) -> People:
    """Open the accounts."""
    lab, people = served.lab, People()
    signed = people.open(lab.point(served.node), lab.account(0), lab.wallet_keys[0])
    result = await served.client.submit_one(signed.raw, wait="committed")
    assert result.receipt is not None and result.receipt.reason == ""
    return people


def there(served: Served) -> list[Slotted]:
    return accounts(served.node.service.reader())


def pay(served: Served, people: People, owner: int) -> bytes:
    return people.pay(served.lab.point(served.node), owner, there(served))


async def test_a_payment_from_the_api_to_a_proven_account(tmp_path: Path) -> None:
    async with served_node(tmp_path, young_lab(tmp_path)) as served:
        people = await opened(served)
        before = there(served)
        raw = pay(served, people, 4)
        decoded = decode_transaction(raw)
        result = await served.client.submit_one(raw, wait="committed")
        assert result.receipt is not None and result.receipt.reason == ""
        reader = served.node.service.reader()
        assert held(reader) == SET_SIZE * BALANCE - FEE and count_accounts(reader) == SET_SIZE + 1
        store = served.node.core.chain.store
        assert supply_differences(dict(store.records_at(store.height))) == {}
        # as the API shows it
        shown = await served.client.ask(methods.GetTransaction(txid=decoded.txid.hex()))
        assert (shown.kind, shown.signers) == ("accountpayment", [])
        body: Any = shown.body
        assert body["accounts"] == [one.id.hex() for one in sorted(before)] and len(body["outputs"]) == SET_SIZE + 1
        # the same again is nothing new, and its accounts are gone
        with pytest.raises(Refused) as caught:
            await served.client.submit_one(raw)
        assert caught.value.reason in {Reason.ACCOUNT_NOT_FOUND, Reason.ALREADY_COMMITTED}
        # step by step
        _, steps = await traced(served, raw)
        assert verdicts(steps) == [
            ("form", "holds"), ("signers", "holds"), ("accounts renewed", "done"), ("proof of payment", "holds"),
            ("accounts added", "done"), ("gas", "holds"), ("receipt", "done"),
        ]  # fmt: skip
        assert step(steps, "proof of payment").facts["shuffles"] == 2
        added = [one["account"] for one in step(steps, "accounts added").items]
        assert sorted(added) == sorted(one.id.hex() for one in there(served))
        await _proven(served, int(result.receipt.height))


async def _proven(served: Served, height: int) -> None:
    """A light client proves pages and absences: slots are dense, so that a page is complete."""
    root = GenesisRoot(genesis_hash(served.lab.genesis))
    answers = await light(served, root)
    with trio.fail_after(60):
        while (await answers.client.update()).height <= height:
            await trio.sleep(0.02)

    async def proven(query: str, **parameters: str) -> Any:
        question = methods.QueryModule(name=f"anonymous/{query}", parameters=parameters)
        answered, recorded = await ask(answers, question)
        verified = verify_answer(root, recorded, clock(), REMEMBERING)
        assert recorded_outcome(question, verified, served.lab.genesis) == answered.outcome
        return answered.outcome.unwrap().value

    page = await proven("accounts", **{"from": "7", "limit": "9"})
    assert [one["id"] for one in page["accounts"]] == [one.id.hex() for one in there(served)[7:]]
    assert (page["count"], page["next"]) == ("10", None)
    assert await proven("account", id="11" * 32) == {"account": None}
    assert (await proven("image", image="11" * 32))["place"] is None
    assert (await proven("pools"))["accounts"] == str(SET_SIZE * BALANCE - FEE)


async def test_a_false_proof_is_refused_and_traced_to_where_it_is_false(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        people = await opened(served)
        good = decode_transaction(pay(served, people, 0))
        [proof] = good.transaction.proofs
        assert isinstance(proof, AccountProof)
        forged = msgspec.structs.replace(proof, first=proof.second)
        raw = assemble(good.body, (), (forged,))
        for _ in range(2):
            with pytest.raises(Refused) as caught:
                await served.client.submit_one(raw)
            assert caught.value.reason is Reason.BAD_MOVEMENT
        _, steps = await traced(served, raw)
        assert step(steps, "proof of payment").verdict.value == "fails"
        # decoys that nobody knows: what can be verified holds, the rest is unknown
        payload = good.body.payload
        assert isinstance(payload, AccountPayment)
        _, steps = await traced(served, good.raw)
        assert verdicts(steps)[-1] == ("receipt foreseen", "done")
        rival = pay(served, people, 1)
        await served.client.submit_one(rival, wait="committed")
        _, steps = await traced(served, good.raw)
        assert step(steps, "proof of payment").verdict.value == "unknown"
        assert step(steps, "receipt foreseen").detail.startswith(Reason.ACCOUNT_NOT_FOUND.value)
        assert {one["found in"] for one in step(steps, "accounts renewed").items} == {"nowhere"}
        assert account_id(payload.outputs[0]).hex() == step(steps, "accounts added").items[0]["account"]
