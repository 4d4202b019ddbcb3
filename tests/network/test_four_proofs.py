"""Four real validators on a chain that asks for all four proofs, of them and of every transaction."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trio

from apps.proofs.records import SPACE_EPOCHS
from apps.token.messages import Transfer
from crypto.address import decode_address
from crypto.errors import Reason, Refused
from node.api.methods import GetStatus, GetValidators, QueryModule
from node.client import AsyncClient, Client
from node.keystore import Keystore
from node.wallet import call, message
from state.params import ProofParams, SecurityParams
from state.types import NATIVE, Address, Amount
from testnet.create import POWER, WALLET_PASSWORD, Rules, create_network
from testnet.network import LocalNetwork
from testnet.plotting import make_plots, missing_plots
from testnet.purse import Purse
from testnet.view import look

pytestmark = pytest.mark.network

LENGTH = 24
RULES = Rules(
    security=SecurityParams(epoch_length=LENGTH),
    proofs=ProofParams(
        space_k=18, work_bits=8, vdf_iterations=20_000, vdf_bits=256, target_gas=4_000, max_difficulty=8, where=1
    ),
)
DAMAGED = "node3"


@dataclass(frozen=True)
class Proving:
    """The network, and what its parts told while it was made."""

    network: LocalNetwork
    plotted: dict[str, float]

    @property
    def url(self) -> str:
        return self.network.members[0].url

    def nexus(self, *words: str, code: int = 0) -> Any:
        """Run a command as alice on the wallets' folder; return its JSON, or its reason if it is to fail."""
        command = [
            sys.executable, "-m", "node.cli.main", "--output", "json", "--home", str(self.network.root / "wallets"),
            "--node", self.url, *words,
        ]  # fmt: skip
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}
        environment["NEXUS_PASSWORD"] = WALLET_PASSWORD
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        if code:
            return json.loads(done.stderr.strip().splitlines()[-1])["error"]["reason"]
        return json.loads(done.stdout)

    def ask(self, name: str, **parameters: str) -> Any:
        with Client(self.url) as client:
            return client.ask(QueryModule(name=name, parameters=parameters)).value

    @property
    def validators(self) -> dict[str, str]:
        """Each node's consensus address, which is its operator's too."""
        found = {}
        for member in self.network.members:
            with Client(member.url) as client:
                found[member.name] = str(client.ask(GetStatus()).validator)
        return found

    def given(self, name: str) -> Any:
        return self.ask("proofs/validator", operator=self.validators[name])


@pytest.fixture(scope="module")
def proving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proving]:
    root = tmp_path_factory.mktemp("proofs") / "net"
    create_network(root, 4, senders=0, rules=RULES)
    network = LocalNetwork(root)
    plotted: dict[str, float] = {}
    plots = missing_plots(network)
    make_plots(plots, lambda name, share: plotted.update({name: max(share, plotted.get(name, 0.0))}))
    assert missing_plots(network) == {}
    damaged = bytearray(plots[DAMAGED].path.read_bytes())
    damaged[len(damaged) // 2 :] = bytes(len(damaged) - len(damaged) // 2)
    plots[DAMAGED].path.write_bytes(damaged)
    try:
        network.start_all()
        network.wait_until(lambda: all(row.state == "running" and row.peers == 3 for row in look(network)), "start")
        yield Proving(network, plotted)
    finally:
        LocalNetwork(root).stop_all()


def test_plots_are_made_in_parallel_and_progress_is_told(proving: Proving) -> None:
    assert proving.plotted == {f"node{place}": 1.0 for place in range(4)}


def test_every_validator_gives_its_proofs_by_itself(proving: Proving) -> None:
    def all_given() -> bool:
        epoch = proving.ask("proofs/epoch")
        for name in proving.validators:
            given = proving.given(name)
            if given["work_epoch"] != epoch["number"] or (name != DAMAGED and given["space_epoch"] is None):
                return False
        return bool(epoch["next_beacon"])

    proving.network.wait_until(all_given, "every validator proves", 60)
    assert proving.given(DAMAGED)["space_epoch"] is None
    log = (proving.network.root / DAMAGED / "node.log").read_text()
    assert Reason.BAD_PLOT.value in log
    shown = proving.nexus("validator", "status")
    assert (shown["space"], shown["work"], shown["share_of_stake"]) == ("given in this epoch",) * 2 + ("2/2",)
    assert all(row.state == "running" for row in look(proving.network))


def test_a_transaction_needs_a_where(proving: Proving) -> None:
    pay = ("tx", "transfer", "bob", "5nxs", "--from", "alice")
    assert proving.nexus(*pay, code=1) == Reason.MISSING_WHERE
    assert proving.nexus("tx", "space", "--from", "alice", code=1) == Reason.BAD_PLOT
    made = proving.nexus("validator", "plot", "--account", "alice")
    assert [plot["k"] for plot in made] == [18]
    assert proving.nexus("tx", "space", "--from", "alice")["status"] == "committed"
    assert proving.nexus(*pay)["status"] == "committed"
    back = ("tx", "transfer", "alice", "1nxs", "--from", "bob")
    assert proving.nexus(*back, code=1) == Reason.MISSING_WHERE
    assert proving.nexus(*back, "--sponsor", "faucet", code=1) == Reason.MISSING_WHERE
    assert proving.nexus(*back, "--sponsor", "alice")["status"] == "committed"
    shown = proving.nexus("query", "proofs", "alice")
    assert shown["space"]["valid"] is True and shown["asked"]["where"] == "1"


async def load_until_harder(proving: Proving, most: int) -> tuple[int, int]:
    """Send payments by alice that want much gas, a block each; return the difficulty before, and the first above it.

    After `most` payments the last difficulty is returned as it is. One block's gas is over the target many times,
    so that neither the pace of this machine nor how many payments share a block decides.
    """
    store = Keystore(proving.network.root / "wallets" / "keys")
    key = store.open("alice", WALLET_PASSWORD).key
    bob = Address(decode_address(str(proving.nexus("keys", "show", "bob")["address"])))
    async with AsyncClient(proving.url) as client:
        purse = Purse("alice", key, client)
        before = seen = (await purse.point()).difficulty
        for _ in range(most):
            point = await purse.point()
            seen = point.difficulty
            if seen > before:
                break
            account, nonce = await purse.account()
            pay = message("token/transfer", Transfer(NATIVE, bob, Amount(1)))
            signed = call(point, account, key, nonce, [pay], gas=8 * RULES.proofs.target_gas)
            await purse.submit(signed.raw, wait="committed")
        return before, seen


async def without_work(proving: Proving) -> Reason:
    """Return why a payment without hashcash is refused, on a chain that asks for some now."""
    key = Keystore(proving.network.root / "wallets" / "keys").open("alice", WALLET_PASSWORD).key
    async with AsyncClient(proving.url) as client:
        purse = Purse("alice", key, client)
        account, nonce = await purse.account()
        point = await purse.point()
        assert point.difficulty > 0
        for amount in range(1, 20):  # some body reaches a low difficulty by chance
            one = message("token/transfer", Transfer(NATIVE, purse.address, Amount(amount)))
            signed = call(replace(point, difficulty=0), account, key, nonce, [one])
            try:
                await purse.submit(signed.raw, wait="accepted")
            except Refused as refused:
                return refused.reason
            nonce += 1
    raise AssertionError("never refused")


def test_hashcash_gets_harder_under_load(proving: Proving) -> None:
    before, seen = trio.run(load_until_harder, proving, 60)
    assert seen == before + 1 <= RULES.proofs.max_difficulty
    assert trio.run(without_work, proving) is Reason.INSUFFICIENT_WORK


def test_epochs_pass_with_strong_beacons_and_the_lazy_lose_power(proving: Proving) -> None:
    reasons: list[Reason] = []

    async def pay_until(number: int) -> None:
        key = Keystore(proving.network.root / "wallets" / "keys").open("alice", WALLET_PASSWORD).key
        async with AsyncClient(proving.url) as client:
            purse = Purse("alice", key, client)
            while True:
                value: Any = (await client.ask(QueryModule(name="proofs/epoch", parameters={}))).value
                if int(value["number"]) >= number:
                    return
                try:
                    await purse.call(message("token/transfer", Transfer(NATIVE, purse.address, Amount(1))))
                except Refused as refused:
                    reasons.append(refused.reason)
                    if refused.reason is Reason.MISSING_WHERE:
                        return
                    await trio.sleep(0.5)

    trio.run(pay_until, 1)
    assert proving.ask("proofs/epoch")["weak"] is False
    record = proving.ask("proofs/space", account=proving.nexus("keys", "show", "alice")["address"])["record"]
    trio.run(pay_until, int(record["epoch"]) + SPACE_EPOCHS)
    epoch = proving.ask("proofs/epoch")
    assert int(epoch["number"]) >= 2 and epoch["weak"] is False
    assert proving.given(DAMAGED)["halves"] == "1"

    def powers() -> list[int]:
        with Client(proving.url) as client:
            found = {one.address: int(one.power) for one in client.ask(GetValidators()).validators}
        return [found[address] for address in proving.validators.values()]

    proving.network.wait_until(lambda: powers() == [POWER, POWER, POWER, POWER // 2], "the set follows", 30)
    assert proving.given("node0")["halves"] == "2"
    trio.run(pay_until, 99)
    assert reasons[-1] is Reason.MISSING_WHERE


def test_all_nodes_agree(proving: Proving) -> None:
    def same() -> bool:
        heads = set()
        for member in proving.network.members:
            with Client(member.url) as client:
                status = client.ask(GetStatus())
                heads.add((int(status.height), status.block_id, status.state_root))
        return len(heads) == 1

    proving.network.wait_until(same, "all nodes stand at the same block", 30)
