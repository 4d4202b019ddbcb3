"""Anonymous accounts on a real node: LevelDB, the API, traces, proofs for a light client."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from apps.anonymous.messages import Open
from apps.anonymous.records import Slotted, account_at, account_id, count_accounts, held
from apps.supply import supply_differences
from crypto.errors import Reason, Refused
from crypto.quisquis import Payment, default_quisquis
from crypto.ristretto import scalar_from_uniform
from node.api import methods
from node.cli.trust import clock
from node.light.answer import verify_answer
from node.light.answering import recorded_outcome
from node.light.roots import GenesisRoot
from node.wallet import Signed, body_of, call, message
from state.encoding import encode
from state.genesis import genesis_hash
from state.transaction import SET_SIZE, AccountPayment, AccountProof, assemble, decode_transaction, sign_digest
from state.types import Amount
from tests.node.lab import Lab
from tests.node.served import Served, served_node
from tests.node.test_light import REMEMBERING, ask, light
from tests.node.test_tracing import step, traced, verdicts

BALANCE, FEE = 10**9, 100_000


def scalar() -> int:
    return scalar_from_uniform(os.urandom(64))


@dataclass
class People:
    """Nine owners of an account each, on one node."""

    served: Served
    secrets: list[int] = field(default_factory=lambda: [scalar() for _ in range(SET_SIZE)])

    async def open(self, *amounts: int) -> Signed:
        """Accounts of these amounts, one for each owner in turn, by one call."""
        lab, quisquis = self.served.lab, default_quisquis()
        messages = [
            message("anonymous/open", Open(Amount(amount), quisquis.key(secret, scalar())))
            for amount, secret in zip(amounts, self.secrets, strict=False)
        ]
        signed = call(lab.point(self.served.node), lab.account(0), lab.wallet_keys[0], 0, messages)
        result = await self.served.client.submit_one(signed.raw, wait="committed")
        assert result.receipt is not None and result.receipt.reason == ""
        return signed

    def all(self) -> list[Slotted]:
        reader = self.served.node.service.reader()
        return [one for one in (account_at(reader, slot) for slot in range(count_accounts(reader))) if one is not None]

    def pay(self, owner: int, amount: int, among: Sequence[Slotted]) -> bytes:
        """The wire bytes of a payment to nobody in particular."""
        quisquis, chosen = default_quisquis(), sorted(among)
        place = [quisquis.owns(self.secrets[owner], one.kept.account) for one in chosen].index(True)
        key = quisquis.key(scalar(), scalar())
        payment = Payment(place, self.secrets[owner], BALANCE, SET_SIZE, amount, FEE)
        drawn = quisquis.arrange([*(one.kept.account for one in chosen), key * 2], payment, os.urandom(32))
        payload = AccountPayment(tuple(one.id for one in chosen), key, drawn.outputs)
        body = body_of(self.served.lab.point(self.served.node), payload, FEE, None)
        proof = quisquis.prove(sign_digest(encode(body)), drawn, os.urandom(32))
        return assemble(body, (), (AccountProof(*proof),))


def young(folder: Path) -> Lab:
    lab = Lab(folder, size=1)
    lab.genesis = msgspec.structs.replace(lab.genesis, time=clock())
    return lab


async def test_a_payment_from_the_api_to_a_proven_account(tmp_path: Path) -> None:
    async with served_node(tmp_path, young(tmp_path)) as served:
        people = People(served)
        await people.open(*[BALANCE] * SET_SIZE)
        before = people.all()
        raw = people.pay(4, 7 * FEE, before)
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
        assert sorted(added) == sorted(one.id.hex() for one in people.all())
        await _proven(served, people, int(result.receipt.height))


async def _proven(served: Served, people: People, height: int) -> None:
    """A light client proves pages and absences: slots are dense, so that a page is complete."""
    root = GenesisRoot(genesis_hash(served.lab.genesis))
    answers = await light(served, root)
    with trio.fail_after(10):
        while (await answers.client.update()).height <= height:
            await trio.sleep(0.02)

    async def proven(query: str, **parameters: str) -> Any:
        question = methods.QueryModule(name=f"anonymous/{query}", parameters=parameters)
        answered, recorded = await ask(answers, question)
        verified = verify_answer(root, recorded, clock(), REMEMBERING)
        assert recorded_outcome(question, verified, served.lab.genesis) == answered.outcome
        return answered.outcome.unwrap().value

    page = await proven("accounts", **{"from": "7", "limit": "9"})
    assert [one["id"] for one in page["accounts"]] == [one.id.hex() for one in people.all()[7:]]
    assert (page["count"], page["next"]) == ("10", None)
    assert await proven("account", id="11" * 32) == {"account": None}
    assert (await proven("image", image="11" * 32))["place"] is None
    assert (await proven("pools"))["accounts"] == str(SET_SIZE * BALANCE - FEE)


async def test_a_false_proof_is_refused_and_traced_to_where_it_is_false(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        people = People(served)
        await people.open(*[BALANCE] * SET_SIZE)
        good = decode_transaction(people.pay(0, FEE, people.all()))
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
        rival = people.pay(1, FEE, people.all())
        await served.client.submit_one(rival, wait="committed")
        _, steps = await traced(served, good.raw)
        assert step(steps, "proof of payment").verdict.value == "unknown"
        assert step(steps, "receipt foreseen").detail.startswith(Reason.ACCOUNT_NOT_FOUND.value)
        assert {one["found in"] for one in step(steps, "accounts renewed").items} == {"nowhere"}
        assert account_id(payload.outputs[0]).hex() == step(steps, "accounts added").items[0]["account"]
