"""Real processes: wallets pay out of anonymous accounts and ring coins over four validators, in each other's way."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.keys import KeyTree, new_phrase
from node.amounts import format_amount
from node.api.methods import GetTransaction, QueryModule
from node.cli.accounts import native_amount
from node.cli.main import app
from node.client import Client
from state.transaction import AccountPayment, decode_transaction
from tests.network.town import Town

pytestmark = pytest.mark.network

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}
NXS = 1_000_000


class AnonymousTown(Town):
    """People with anonymous wallets."""

    def nexus(self, home: str, *words: str, node: int = 0, words_in: str = "") -> Any:
        """Run a command against one of the nodes, in this process: starting one takes longer than most commands."""
        ended = CliRunner().invoke(app, self.words(home, node, *words), input=words_in, prog_name="nexus")
        if isinstance(ended.exception, Refused):
            raise ended.exception
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    def begin(self, home: str, *words: str, node: int = 0) -> subprocess.Popen[str]:
        """Run a command in a process of its own, beside others."""
        return subprocess.Popen(
            [sys.executable, "-m", "node.cli.main", *self.words(home, node, *words)], env=ENVIRONMENT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def anonymous(self, name: str, *words: str, node: int = 0) -> Any:
        """Run a command of an anonymous wallet whose key has the name of the home, and in `wallets` is the faucet."""
        return self.nexus(name, "anonymous", *words, "--from", "faucet" if name == "wallets" else name, node=node)

    def held(self) -> int:
        """Return what is in all anonymous accounts, by their turnstile."""
        with Client(self.net.members[1].url) as client:
            asked = QueryModule(name="anonymous/pools", parameters={"asset": "unxs"})
            return int(client.ask(asked).value["accounts"])


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnonymousTown]:
    made = AnonymousTown(tmp_path_factory.mktemp("anonymous") / "net")
    try:
        made.start()
        yield made
    finally:
        made.net.stop_all()


def person(town: AnonymousTown, name: str) -> str:
    """Make a wallet from new words, and return them."""
    phrase = new_phrase()
    town.nexus(name, "keys", "add", name, "--recover", "--key-cost", "quick", words_in=phrase + "\n")
    return phrase


def amounts(shown: Any) -> list[str]:
    return [one["amount"] for one in shown["accounts"]]


def refused(reason: Reason) -> "pytest.RaisesExc[Refused]":
    return pytest.RaisesExc(Refused, check=lambda error: error.reason is reason)


def test_accounts_and_rings_restart_and_recovery(town: AnonymousTown) -> None:
    words = {name: person(town, name) for name in ("alice", "bob")}
    clear = {name: encode_address(KeyTree.from_phrase(words[name]).account().address) for name in words}
    town.nexus("wallets", "tx", "transfer", clear["alice"], "100nxs", "--from", "faucet")
    town.nexus("wallets", "tx", "transfer", clear["bob"], "1nxs", "--from", "faucet")
    bob = town.anonymous("bob", "address")["address"]
    rings = town.anonymous("alice", "ring", "address")["address"]
    town.anonymous("alice", "open", "40nxs")
    with refused(Reason.NOT_AVAILABLE):  # too few to hide among
        town.anonymous("alice", "send", bob, "7nxs")

    # a crowd to hide in: the faucet opens accounts, and makes coins for rings
    town.anonymous("wallets", "open", "24nxs", "--pieces", "12")
    town.anonymous("wallets", "ring", "mint", "6nxs", "--to", rings, "--pieces", "2")
    town.anonymous("wallets", "ring", "mint", "9nxs", "--pieces", "9")

    town.spread()

    # both pay at once: of thirteen accounts their sets have some in common, and who comes second proves again
    payers = [
        town.begin(home, "anonymous", "send", bob, amount, "--from", name, node=node)
        for home, name, amount, node in (("alice", "alice", "7nxs", 0), ("wallets", "faucet", "1nxs", 2))
    ]
    ended = [payer.communicate(timeout=100) for payer in payers]
    assert [payer.returncode for payer in payers] == [0, 0], ended
    paid = [json.loads(out) for out, _ in ended]
    assert [one["status"] for one in paid] == ["committed"] * 2
    town.spread()
    assert amounts(town.anonymous("bob", "balance")) == ["7nxs", "1nxs"]
    fee = native_amount(paid[0]["fee"])
    assert amounts(town.anonymous("alice", "balance")) == [format_amount(33 * NXS - fee)]
    assert [one["kind"] for one in town.anonymous("alice", "history")] == ["opened", "paid"]

    # what everybody sees of it; and sent again it is refused
    with Client(town.net.members[1].url) as client:
        raw = client.ask(GetTransaction(txid=paid[0]["txid"])).raw
        seen = decode_transaction(raw)
        assert isinstance(seen.body.payload, AccountPayment) and seen.transaction.witnesses == ()
        with refused(Reason.ALREADY_COMMITTED):
            client.submit_one(raw)
    held = town.held()
    assert held == 64 * NXS - 2 * fee

    # every node is killed and comes back
    for member in town.net.members:
        town.net.stop(member.name, signal.SIGKILL)
    town.start()

    # bob loses his disk; his words find his accounts, and he takes one out
    town.nexus("again", "keys", "add", "bob", "--recover", "--key-cost", "quick", words_in=words["bob"] + "\n")
    assert amounts(town.nexus("again", "anonymous", "balance", "--from", "bob")) == ["7nxs", "1nxs"]
    with refused(Reason.ACCOUNT_NOT_FOUND):
        town.anonymous("bob", "close", "3nxs")
    assert town.anonymous("bob", "close", "7nxs", node=3)["status"] == "committed"
    town.spread()
    assert [one["kind"] for one in town.anonymous("bob", "history")] == ["received", "received", "closed"]
    assert town.held() == held - 7 * NXS

    # by now eleven coins are old enough for a ring
    wait_for_ring(town, clear["alice"])
    spent = town.anonymous("alice", "ring", "send", town.anonymous("bob", "ring", "address")["address"], "2nxs",
                           "--text", "rent")  # fmt: skip
    assert spent["status"] == "committed"
    town.spread()
    [entry] = town.anonymous("bob", "ring", "history")["coins"]
    assert (entry["kind"], entry["amount"], entry["text"]) == ("received", "2nxs", "rent")
    with refused(Reason.NOT_AVAILABLE):  # his coin waits for ten others
        town.anonymous("bob", "ring", "send", rings, "1nxs")
    with Client(town.net.members[2].url) as client, refused(Reason.ALREADY_COMMITTED):
        client.submit_one(client.ask(GetTransaction(txid=spent["txid"])).raw)


def wait_for_ring(town: AnonymousTown, to: str) -> None:
    """Make blocks, which only payments do here, until alice's coins have a set of some age to hide in."""
    for _ in range(30):
        town.nexus("wallets", "tx", "transfer", to, "1unxs", "--from", "faucet")
        [coins] = town.anonymous("alice", "ring", "balance")["coins"]
        if coins["ready"] == "6nxs":
            return
    raise AssertionError(coins)
