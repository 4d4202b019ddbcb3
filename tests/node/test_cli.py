"""The command line, in this process, against a real node whose home it made itself."""

import contextlib
import io
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from crypto.errors import Reason
from node.api.server import serve_api
from node.cli.main import COMMANDS, main
from node.config import load_config
from node.home import open_home
from node.logs import configure_logging
from node.node import load_genesis, load_keys, open_node
from node.service import NodeService
from state.chainstore import ChainOptions

PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    configure_logging("error", "json", sys.__stderr__ or sys.stderr)
    monkeypatch.setenv("NEXUS_PASSWORD", PASSWORD)
    yield


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        assert self.code == 1, (self.code, self.out, self.err)
        error: dict[str, str] = json.loads(self.err.splitlines()[-1])["error"]
        return error

    @property
    def reason(self) -> str:
        return self.error["reason"]


def nexus(*words: str, stdin: str = "") -> Outcome:
    """Run one command in this process, with its output in JSON."""
    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(stdin)
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(["--output", "json", *words])
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    finally:
        sys.stdin = before
    return Outcome(code, out.getvalue(), err.getvalue())


@dataclass
class Desk:
    """A home, and a node to ask."""

    home: Path
    url: str
    service: NodeService

    async def __call__(self, *words: str, stdin: str = "", home: Path | None = None) -> Outcome:
        shared = ("--home", str(home or self.home), "--node", self.url)
        return await trio.to_thread.run_sync(lambda: nexus(*shared, *words, stdin=stdin))

    async def send(self, *words: str, sender: str = "operator", home: Path | None = None) -> Any:
        return (await self("tx", *words, "--from", sender, home=home)).value

    async def next_block(self) -> None:
        """Wait for the block that proves the last one."""
        height = self.service.height
        with trio.move_on_after(2):
            while self.service.height == height:
                await trio.sleep(0.02)


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Desk]:
    """Run the node of a home, on free ports."""
    opened = open_home(home)
    config = msgspec.structs.replace(load_config(opened.config, {}), listen_port=0)
    genesis, keys = load_genesis(opened), load_keys(opened, None)
    async with open_node(opened, config, genesis, keys) as node, trio.open_nursery() as nursery:
        port = await nursery.start(serve_api, node.service, "::1", 0)
        yield Desk(home, f"http://[::1]:{port}", node.service)
        nursery.cancel_scope.cancel()


def _init(home: Path, *words: str, stdin: str = "") -> Outcome:
    return nexus("--home", str(home), "init", "alice", "--key-cost", "quick", *words, stdin=stdin)


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    home = folder / "home"
    assert _init(home).code == 0
    async with running(home) as found:
        yield found


async def test_an_archive_answers_for_every_height_and_a_pruned_node_names_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bought(run: Desk) -> list[tuple[int, Outcome]]:
        """Pay bob five times; return what his balance was after each, asked at the end."""
        bob = (await run("keys", "add", "bob", "--key-cost", "quick")).value["address"]
        heights = [(await run.send("transfer", bob, "1nxs"))["height"] for _ in range(5)]
        await run.next_block()
        return [(int(at), await run("query", "balance", "bob", "--height", str(at))) for at in heights]

    monkeypatch.setattr("node.node.ChainOptions", lambda archive, keep_blocks: ChainOptions(2, archive, keep_blocks))
    for kept in ("archive", "all"):
        home = tmp_path / kept
        assert _init(home).code == 0
        config = home / "config.toml"
        config.write_text(config.read_text().replace('keep_blocks = "all"', f'keep_blocks = "{kept}"'))
        assert kept in config.read_text()
        async with running(home) as run:
            found = await bought(run)
            store = run.service.chain.store
            if kept == "archive":
                assert [outcome.value["balance"] for _, outcome in found] == [f"{paid}nxs" for paid in range(1, 6)]
                continue
            at, refused = found[0]
            assert refused.reason == Reason.NOT_AVAILABLE and at < store.height - 2
            oldest = int(refused.error["detail"].split()[-1])
            assert (await run("query", "balance", "bob", "--height", str(oldest))).code == 0
            assert (await run("query", "balance", "bob", "--height", str(oldest - 1))).reason == Reason.NOT_AVAILABLE


async def test_money_moves_through_the_command_line(tmp_path: Path) -> None:
    async with desk(tmp_path) as run:
        bob = (await run("keys", "add", "bob", "--key-cost", "quick")).value["address"]
        await run.send("transfer", "bob", "1.5nxs")
        await run.send("transfer", bob, "500000unxs")
        assert (await run("query", "balance", "bob")).value["balance"] == "2nxs"
        deposit = await run.send("deposit", "10nxs", "--pieces", "3")
        coins = (await run("query", "outputs", "operator")).value["outputs"]
        assert sum(int(coin["amount"]) for coin in coins) == 10_000_000 and len(coins) == 3
        sent = await run.send("send", "bob", "4nxs")
        coin = (await run("query", "coin", f"{sent['txid']}:0")).value
        assert (coin["owner"], coin["amount"]) == (bob, "4000000")
        await run.send("withdraw", f"{sent['txid']}:0", sender="bob")
        assert (await run("query", "coin", f"{sent['txid']}:0")).reason == Reason.OUTPUT_NOT_FOUND
        assert (await run("query", "receipt", deposit["txid"])).value["reason"] == ""
        assert (await run("query", "tx", sent["txid"])).value["kind"] == "transfer"
        history = (await run("query", "history", "bob")).value["transactions"]
        assert sent["txid"] in {one["txid"] for one in history}


async def test_tokens_locks_and_allowances(tmp_path: Path) -> None:
    async with desk(tmp_path) as run:
        await run("keys", "add", "bob", "--key-cost", "quick")
        await run.send("transfer", "bob", "1nxs")
        await run.send("issue", "gold", "1000", "--decimals", "2", "--mintable", "--burnable", "--freezable")
        operator = (await run("keys", "show", "operator")).value["address"]
        gold = f"gold@{operator}"
        await run.send("transfer", "bob", "25.5gold")
        await run.send("mint", "bob", "1gold")
        await run.send("burn", "10gold")
        assert (await run("query", "balance", "bob", "--asset", gold)).value["balance"] == "26.5gold"
        assert (await run("query", "asset", gold)).value["supply"] == "99100"
        await run.send("approve", "bob", "5gold")
        assert (await run("query", "allowance", "operator", "bob", "--asset", "gold")).value["amount"] == "500"
        await run.send("transfer-from", "operator", "bob", f"5{gold}", sender="bob")
        await run.send("freeze", "bob", "gold")
        assert (await run("tx", "burn", f"1{gold}", "--from", "bob")).reason == Reason.FROZEN
        await run.send("thaw", "bob", "gold")
        await run.send("burn", f"1{gold}", sender="bob")
        locked = await run.send("lock", "3nxs", "--until", str(run.service.height + 4))
        (lock,) = (await run("query", "locks", "operator")).value["locks"]
        assert lock["release_height"] >= locked["height"]
        while run.service.height < int(lock["release_height"]):
            await run.send("transfer", "bob", "1unxs")
        await run.send("unlock", lock["lock_id"])
        assert (await run("query", "locks", "operator")).value["locks"] == []
        assert (await run("query", "module", "token/supply", "asset=unxs")).value["amount"] == str(10**14 + 10**7)


async def test_refusals_exit_with_their_name(tmp_path: Path) -> None:
    async with desk(tmp_path) as run:
        await run("keys", "add", "poor", "--key-cost", "quick")
        for words, reason in [
            (("tx", "transfer", "poor", "999999999999nxs", "--from", "operator"), Reason.INSUFFICIENT_FUNDS),
            (("tx", "transfer", "poor", "9999999999999999nxs", "--from", "operator"), Reason.AMOUNT_OUT_OF_RANGE),
            (("tx", "transfer", "operator", "1nxs", "--from", "poor"), Reason.INSUFFICIENT_FEE_FUNDS),
            (("tx", "send", "operator", "1nxs", "--from", "poor"), Reason.INSUFFICIENT_FUNDS),
            (("tx", "transfer", "poor", "1nxs", "--from", "operator", "--fee", "1unxs"), Reason.FEE_TOO_LOW),
            (("tx", "transfer", "poor", "1lead", "--from", "operator"), Reason.UNKNOWN_ASSET),
            (("tx", "transfer", "nx1abc", "1nxs", "--from", "operator"), Reason.BAD_ADDRESS),
            (("tx", "transfer", "nobody", "1nxs", "--from", "operator"), Reason.KEY_NOT_FOUND),
            (("tx", "transfer", "poor", "lots", "--from", "operator"), Reason.BAD_ARGUMENT),
            (("query", "block", "99999"), Reason.NOT_AVAILABLE),
            (("query", "block", "x"), Reason.MALFORMED),
            (("light", "query", "balance", "poor", "--chain-id", "00" * 32), Reason.WRONG_CHAIN),
        ]:
            outcome = await run(*words)
            assert outcome.reason == reason, (words, outcome.err)
            assert "Traceback" not in outcome.err
        assert (await run("tx", "transfer", "poor", "--from", "operator")).code == 2
        assert (await run("nothing")).code == 2
        assert (await run("light", "query", "balance", "poor", "--trust-height", "3")).code == 2


async def test_the_words_alone_give_the_money_back(tmp_path: Path) -> None:
    async with desk(tmp_path) as run:
        mine = tmp_path / "mine"
        made = (await run("keys", "add", "me", "--key-cost", "quick", home=mine)).value
        await run.send("transfer", made["address"], "5nxs")
        await run.send("deposit", "7nxs", "--to", made["address"])
        shutil.rmtree(mine)
        assert (await run("tx", "transfer", "me", "1nxs", "--from", "me", home=mine)).reason == Reason.KEY_NOT_FOUND
        words = ("keys", "add", "again", "--recover", "--key-cost", "quick")
        again = (await run(*words, stdin=f"{made['phrase'].upper()}\n", home=mine)).value
        assert again["address"] == made["address"] and "phrase" not in again
        operator = (await run("keys", "show", "operator")).value["address"]
        await run.send("transfer", operator, "1nxs", sender="again", home=mine)
        await run.send("send", operator, "6nxs", sender="again", home=mine)
        assert (await run(*words, stdin="not the words", home=tmp_path / "x")).reason == Reason.BAD_PHRASE


def test_a_validator_is_recovered_from_its_words(tmp_path: Path) -> None:
    first = _init(tmp_path / "a").value
    words = ("--recover", "--genesis", str(tmp_path / "a" / "genesis.json"))
    second = _init(tmp_path / "b", *words, stdin=first["phrase"] + "\n").value
    assert {**second, "home": ""} == {**{key: value for key, value in first.items() if key != "phrase"}, "home": ""}
    word = first["phrase"].split()[0].encode()
    assert not any(word in path.read_bytes() for path in (tmp_path / "a" / "keys").glob("*.json"))


async def test_a_dry_run_tells_the_outcome_and_sends_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as run:
        await run("keys", "add", "bob", "--key-cost", "quick")
        words = ("tx", "transfer", "bob", "5nxs", "--from", "operator")
        told = (await run(*words, "--dry-run")).value
        assert told["status"] == "would succeed" and told["events"][0]["name"] == "token/transfer"
        assert (await run("query", "balance", "bob")).value["amount"] == "0"
        done = (await run(*words)).value
        assert (done["status"], done["gas_used"], done["fee"]) == ("committed", told["gas_used"], told["fee"])
        much = ("tx", "transfer", "bob", "999999999999nxs", "--from", "operator", "--dry-run")
        assert (await run(*much)).reason == Reason.INSUFFICIENT_FUNDS
        assert (await run("tx", "send", "operator", "1nxs", "--from", "bob", "--dry-run")).code == 1


async def test_an_operator_plans_an_upgrade_and_takes_it_back(tmp_path: Path) -> None:
    async with desk(tmp_path) as run:
        plan = ("upgrade", "plan", "2", "--height", "500", "--name", "nexus 2.0")
        await run.send(*plan)
        asked = (await run("query", "upgrade")).value
        assert (asked["version"], asked["scheduled"]) == ("1", {"version": "2", "height": "500", "name": "nexus 2.0"})
        assert [one["height"] for one in asked["approvals"]] == ["500"]
        await run("keys", "add", "other", "--key-cost", "quick")
        await run.send("transfer", "other", "5nxs")
        assert (await run("tx", *plan, "--from", "other")).reason == Reason.UNKNOWN_VALIDATOR
        await run.send("upgrade", "withdraw")
        assert (await run("query", "upgrade")).value["scheduled"] == {}


async def test_a_genesis_is_exported_checked_and_joined(tmp_path: Path) -> None:
    async with desk(tmp_path) as run:
        await run("keys", "add", "bob", "--key-cost", "quick")
        await run.send("transfer", "bob", "5nxs")
        height = run.service.height
        home, chain_id = run.home, run.service.chain_id.hex()
        assert nexus("--home", str(home), "genesis", "export").reason == Reason.HOME_IN_USE
    file = tmp_path / "next.json"
    words = ("genesis", "export", "--height", str(height), "--output-file", str(file), "--name", "next")
    exported = nexus("--home", str(home), *words).value
    assert exported["chain_id"] != chain_id
    assert nexus("genesis", "hash", str(file)).value["chain_id"] == exported["chain_id"]
    assert nexus("genesis", "validate", str(file)).value["name"] == "next"
    assert nexus("--home", str(home), "genesis", "export", "--height", "999").reason == Reason.NOT_AVAILABLE
    second = tmp_path / "second"
    shutil.copytree(home / "keys", second / "keys", ignore=shutil.ignore_patterns("*.state"))
    for name in ("config.toml", "genesis.json", "genesis.hash"):
        shutil.copy(home / name, second / name)
    shutil.copy(file, second / "genesis.json")
    (second / "genesis.hash").write_text(exported["chain_id"] + "\n")
    (second / "data").mkdir()
    async with running(second) as run:
        assert run.service.chain_id.hex() == exported["chain_id"]
        assert (await run("query", "balance", "bob")).value["amount"] == str(5 * 10**6)
        await run.send("transfer", "bob", "1nxs")
        assert (await run("query", "balance", "bob")).value["amount"] == str(6 * 10**6)
    text = json.loads(file.read_text())
    text["carried"].pop()
    file.write_text(json.dumps(text))
    assert nexus("genesis", "validate", str(file)).reason == Reason.BAD_GENESIS


async def test_a_key_is_rotated_and_the_account_stays(tmp_path: Path) -> None:
    async with desk(tmp_path) as run:
        await run("keys", "add", "bob", "--key-cost", "quick")
        await run.send("transfer", "bob", "5nxs")
        before = (await run("keys", "show", "bob")).value
        old_file = (await run("keys", "export", "bob")).out
        await run.send("transfer", "operator", "1nxs", sender="bob")
        rotated = (await run("keys", "rotate", "bob", "--key-cost", "quick", "--scheme", "hybrid")).value
        after = (await run("keys", "show", "bob")).value
        assert after["address"] == before["address"] == rotated["account"]
        assert after["public_key"] != before["public_key"] and after["scheme"] == "hybrid"
        await run.send("transfer", "operator", "1nxs", sender="bob")
        file = tmp_path / "old.json"
        file.write_text(old_file)
        await run("keys", "import", "oldbob", str(file))
        assert (await run("tx", "transfer", "bob", "1nxs", "--from", "oldbob")).reason == Reason.BAD_KEY


async def test_members_of_a_joint_account_sign_a_draft(tmp_path: Path) -> None:
    async with desk(tmp_path) as run:
        for name in ("ann", "ben", "cat"):
            await run("keys", "add", name, "--key-cost", "quick")
        await run("keys", "joint", "team", "ann", "ben", "cat", "--threshold", "2")
        await run.send("transfer", "team", "5nxs")
        draft = tmp_path / "draft.json"
        assert (await run("tx", "transfer", "ann", "1nxs", "--from", "team")).code == 2
        await run("tx", "transfer", "ann", "1nxs", "--from", "team", "--draft", str(draft))
        assert (await run("tx", "broadcast", str(draft))).reason == Reason.MISSING_SIGNATURE
        assert (await run("tx", "sign", str(draft), "--from", "operator")).reason == Reason.BAD_KEY
        await run("tx", "sign", str(draft), "--from", "ann")
        assert (await run("tx", "sign", str(draft), "--from", "cat")).value == {"signatures": 2, "needed": 2}
        assert (await run("tx", "broadcast", str(draft))).value["status"] == "committed"
        assert (await run("query", "balance", "ann")).value["balance"] == "1nxs"


async def test_a_light_query_is_verified_and_a_changed_record_is_not(tmp_path: Path) -> None:
    async with desk(tmp_path) as run:
        await run("keys", "add", "bob", "--key-cost", "quick")
        paid = await run.send("transfer", "bob", "2nxs")
        await run.next_block()
        record = tmp_path / "answer"
        light = (await run("light", "query", "balance", "bob", "--export", str(record))).value
        assert light["balance"] == "2nxs" and light["verified"]["power"] == light["verified"]["total_power"] == "10"
        assert (await run("light", "verify", str(record), "balance", "bob")).value["balance"] == "2nxs"
        receipt = (await run("light", "query", "receipt", paid["txid"])).value["receipt"]
        assert receipt["txid"] == paid["txid"] and receipt["reason"] == ""
        account = (await run("light", "query", "account", "operator")).value
        assert account["nonce"] == "1"
        assert (await run("light", "query", "coin", paid["txid"] + ":0")).value["exists"] is False
        assert (await run("light", "query", "asset", "nxs")).value["supply"] == str(10**14 + 10**7)
        assert (await run("light", "query", "allowance", "operator", "bob")).value["amount"] == "0"
        assert (await run("light", "query", "locks", "bob")).value["locks"] == []
        assert len((await run("light", "query", "validators")).value["validators"]) == 1
        assert (await run("light", "query", "validator", "operator")).value["value"]["status"] == "candidate"
        staked = (await run("light", "query", "delegation", "operator", "operator")).value["value"]
        assert staked["amount"] == "10000000"
        assert (await run("light", "query", "validator", "bob")).value["exists"] is False
        assert "min_gas_price" in (await run("light", "query", "params")).value["chain"]
        assert (await run("light", "query", "module", "token/supply")).value["value"]["amount"] == str(10**14 + 10**7)
        header = (await run("query", "header", "1")).value
        trust = ("--trust-height", "1", "--trust-hash", header["block_id"])
        verified = (await run("light", "query", "balance", "bob", *trust)).value["verified"]
        assert verified["trusted"].startswith("block 1 ") and verified["signatures"] == 1
        assert (await run("light", "query", "header", *trust)).value["height"] > "1"
        assert (await run("light", "status")).reason == Reason.HOME_MISSING
        wrong = (*trust[:3], "11" * 32)
        assert (await run("light", "query", "balance", "bob", *wrong)).reason == Reason.BAD_HEADER
        changed = bytearray(record.read_bytes())
        changed[len(changed) // 2] ^= 1
        record.write_bytes(changed)
        assert (await run("light", "verify", str(record), "balance", "bob")).code == 1
        checkpoint = str(tmp_path / "checkpoint")
        made = (await run("checkpoint", "export", checkpoint, "--height", "2")).value
        assert (await run("checkpoint", "verify", checkpoint)).value["hash"] == made["hash"]
        light = (await run("light", "query", "balance", "bob", "--checkpoint", checkpoint)).value
        assert light["verified"]["trusted"].startswith("block 2 ") and light["amount"] == "2000000"
        bent = Path(checkpoint).read_text().replace(made["hash"], "11" * 32)
        Path(checkpoint).write_text(bent)
        assert (await run("checkpoint", "verify", checkpoint)).reason == Reason.BAD_HEADER
        assert (await run("light", "query", "balance", "bob", "--checkpoint", checkpoint)).reason == Reason.BAD_HEADER


def test_a_home_is_made_once_and_is_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = _init(home).value
    assert len(made["phrase"].split()) == 24
    assert _init(home).reason == Reason.HOME_EXISTS
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home / "keys").iterdir()} == {0o600}
    assert stat.S_IMODE((home / "keys").stat().st_mode) == 0o700
    assert (home / "genesis.hash").read_text().strip() == made["chain_id"]
    broken = tmp_path / "genesis.json"
    broken.write_text("{}")
    assert _init(tmp_path / "b", "--genesis", str(broken)).reason == Reason.BAD_GENESIS
    assert not (tmp_path / "b").exists()


def test_reset_needs_a_yes_and_can_keep_the_keys(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _init(home)
    assert nexus("--home", str(home), "reset", "--keep-keys").code == 2
    assert nexus("--home", str(home), "reset", "--keep-keys", "--yes").code == 0
    assert (home / "keys" / "operator.json").exists() and not (home / "data").exists()
    assert nexus("--home", str(home), "reset", "--yes").code == 0
    assert not home.exists()
    assert nexus("--home", str(home), "reset", "--yes").reason == Reason.HOME_MISSING


async def test_reset_refuses_while_the_node_runs(tmp_path: Path) -> None:
    async with desk(tmp_path) as run:
        assert (await run("reset", "--yes")).reason == Reason.HOME_IN_USE


def test_keys_are_listed_moved_and_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keys(*words: str, stdin: str = "") -> Outcome:
        return nexus("keys", *words, "--home", str(tmp_path / "home"), stdin=stdin)

    assert keys("list").value == []
    added = keys("add", "ann", "--key-cost", "quick").value
    assert keys("add", "ann", "--key-cost", "quick").reason == Reason.KEY_EXISTS
    assert keys("add", "ben", "--scheme", "rsa").code == 2
    file = tmp_path / "ann.json"
    assert keys("export", "ann", "--to", str(file)).code == 0
    monkeypatch.setenv("NEXUS_PASSWORD", "wrong")
    assert keys("import", "copy", str(file)).reason == Reason.WRONG_PASSWORD
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    assert keys("import", "copy", str(file), "--password-file", str(password)).value["address"] == added["address"]
    assert [one["name"] for one in keys("list").value] == ["ann", "copy"]
    assert keys("delete", "copy").code == 2
    assert keys("delete", "copy", "--yes").code == 0
    assert keys("show", "copy").reason == Reason.KEY_NOT_FOUND
    monkeypatch.delenv("NEXUS_PASSWORD")
    assert keys("add", "ben").code == 2


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    def start(home: Path) -> Outcome:
        return nexus("--home", str(home), "start")

    home = tmp_path / "home"
    assert start(home).reason == Reason.HOME_MISSING
    _init(home)
    config = home / "config.toml"
    text = config.read_text()
    for wrong in ("colour = 1\n" + text, "{", text.replace("log_level = \"info\"", "log_level = 7")):
        config.write_text(wrong)
        assert start(home).reason == Reason.BAD_CONFIG
    config.write_text(text)
    genesis = home / "genesis.json"
    good = genesis.read_text()
    genesis.write_text(good.replace('"alice-chain"', '"other-chain"'))
    assert start(home).reason == Reason.GENESIS_MISMATCH
    genesis.write_text(good)
    key = home / "keys" / "node_key.json"
    key.chmod(0o644)
    assert start(home).reason == Reason.BAD_KEY_FILE


def test_help_names_every_command_and_loads_none() -> None:
    check = (
        "import sys, io, contextlib\n"
        "from node.cli.main import main\n"
        "out = io.StringIO()\n"
        "with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit): main(['--help'])\n"
        "heavy = {'trio', 'httpx', 'starlette', 'state.transaction', 'plyvel'} & set(sys.modules)\n"
        "sys.stdout.write(repr(sorted(heavy)) + out.getvalue())\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[]")
    for name in COMMANDS:
        assert f" {name} " in done.stdout
    assert nexus("stats").code == 2
    assert "status" in nexus("stats").err


def test_debug_reads_addresses(tmp_path: Path) -> None:
    text = nexus("debug", "address", "07" * 32).value["address"]
    assert nexus("debug", "address", text).value["hex"] == "07" * 32
    assert nexus("debug", "address", "zz").reason == Reason.BAD_ADDRESS
    assert nexus("debug", "home", "--home", str(tmp_path / "no")).reason == Reason.HOME_MISSING
