"""Real processes: two wallets pay in hidden coins over four validators, one is restored from words, auditors read."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from crypto.address import encode_address
from crypto.errors import Reason
from crypto.keys import KeyTree, new_phrase
from node.api.methods import GetOutputs, GetTransaction, QueryModule
from node.client import Client
from state.transaction import HiddenCoin, Transfer, decode_transaction
from tests.network.town import Town

pytestmark = pytest.mark.network

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}
NXS = 1_000_000


class HiddenTown(Town):
    """People with hidden coins."""

    def nexus(self, home: str, *words: str, code: int = 0, node: int = 0, words_in: str = "") -> Any:
        """Run `nexus` as a person would, against one of the nodes."""
        ended = subprocess.run(
            [sys.executable, "-m", "node.cli.main", *self.words(home, node, *words)], env=ENVIRONMENT,
            input=words_in, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert ended.returncode == code, ended.stdout + ended.stderr
        return json.loads(ended.stdout if code == 0 else ended.stderr.strip().splitlines()[-1])

    def balance(self, home: str, *who: str) -> dict[str, str]:
        found = self.nexus(home, "wallet", "balance", *(who or ("--from", home)))
        return {one["asset"]: one["amount"] for one in found["hidden"]}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HiddenTown]:
    made = HiddenTown(tmp_path_factory.mktemp("hidden") / "net")
    try:
        made.start()
        yield made
    finally:
        made.net.stop_all()


def person(town: HiddenTown, name: str) -> str:
    """Make a wallet from new words, give it 100 nxs, and return the words."""
    phrase = new_phrase()
    town.nexus(name, "keys", "add", name, "--recover", "--key-cost", "quick", words_in=phrase + "\n")
    town.nexus("wallets", "tx", "transfer", address_of(phrase), "100nxs", "--from", "faucet")
    return phrase


def address_of(phrase: str) -> str:
    return encode_address(KeyTree.from_phrase(phrase).account().address)


def test_hidden_payments_restart_recovery_and_audit(town: HiddenTown) -> None:
    words = {name: person(town, name) for name in ("alice", "bob")}
    alice, bob = (address_of(words[name]) for name in ("alice", "bob"))

    # into the pool: a clear coin becomes a hidden one
    town.nexus("alice", "tx", "deposit", "60nxs", "--from", "alice")
    town.nexus("alice", "wallet", "send", "alice", "50nxs", "--from-clear", "--from", "alice")
    assert town.balance("alice")["unxs"].startswith("59.")  # the rest of the coin came back hidden too
    assert pool(town) > 59 * NXS

    # bob has published nothing: no way to seal a note to him, until he says where
    refused = town.nexus("alice", "wallet", "send", bob, "7nxs", "--from", "alice", code=1)
    assert refused["error"]["reason"] == Reason.NOT_AVAILABLE
    invoice = town.nexus("bob", "wallet", "invoice", "7nxs", "--text", "rent", "--from", "bob")["invoice"]
    paid = town.nexus("alice", "wallet", "send", invoice, "--from", "alice")
    assert town.balance("bob") == {"unxs": "7nxs"}
    town.nexus("bob", "wallet", "receive", "--from", "bob")
    town.nexus("alice", "wallet", "send", bob, "3nxs", "--from", "alice", node=2)
    assert town.balance("bob") == {"unxs": "10nxs"}

    # what everybody sees of it
    with Client(town.net.members[1].url) as client:
        seen = decode_transaction(client.ask(GetTransaction(txid=paid["txid"])).raw)
        outputs = client.ask(GetOutputs(address=bob)).outputs
    assert isinstance(seen.body.payload, Transfer)
    assert all(isinstance(output, HiddenCoin) for output in seen.body.payload.outputs)
    assert [(one.kind, one.amount) for one in outputs] == [("hiddencoin", None)] * 2

    # every node is killed and comes back
    for member in town.net.members:
        town.net.stop(member.name, signal.SIGKILL)
    town.net.start_all()
    town.nexus("bob", "wallet", "send", alice, "1nxs", "--from", "bob", code=1)  # alice published nothing
    town.nexus("bob", "wallet", "send", alice, "1nxs", "--to-clear", "--from", "bob")
    held = town.balance("bob")
    assert held["unxs"].startswith("8.")

    # bob loses his disk: his words give everything back
    town.nexus("again", "keys", "add", "bob", "--recover", "--key-cost", "quick", words_in=words["bob"] + "\n")
    assert town.balance("again", "--from", "bob") == held
    told = town.nexus("again", "wallet", "history", "--from", "bob")
    assert [entry["text"] for entry in told] == ["rent", "", ""]

    # auditors: incoming amounts for one, outgoing for the other, and no more
    (town.root / "in").write_text(town.nexus("bob", "wallet", "viewkey", "incoming", "--from", "bob")["viewkey"])
    (town.root / "out").write_text(town.nexus("alice", "wallet", "viewkey", "outgoing", "--from", "alice")["viewkey"])
    assert town.balance("auditor", "--view", str(town.root / "in")) == held
    refused = town.nexus("auditor", "wallet", "balance", "--view", str(town.root / "out"), code=1)
    assert refused["error"]["reason"] == Reason.BAD_KEY
    sent = town.nexus("auditor", "wallet", "history", "--view", str(town.root / "out"))
    assert [entry["paid"] for entry in sent] == [f"7nxs to {bob}", f"3nxs to {bob}"]
    refused = town.nexus("auditor", "wallet", "send", alice, "1nxs", "--from", "bob", code=1)
    assert refused["error"]["reason"] == Reason.KEY_NOT_FOUND

    # the index is resumed, and the pool is what the two hold
    scanned = town.nexus("bob", "wallet", "scan", "--from", "bob")
    assert scanned["transactions"] == 0


def pool(town: HiddenTown) -> int:
    with Client(town.net.members[0].url) as client:
        return int(client.ask(QueryModule(name="confidential/pool", parameters={"asset": "unxs"})).value["amount"])
