"""Real processes: the contracts of docs/contracts on four validators, by people who use the command line."""

import contextlib
import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from apps.confidential.messages import Publish
from apps.token.messages import Deposit, NewCoin
from apps.token.messages import Transfer as Payment
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.keyfile import Preset
from crypto.keys import SecretKey
from node.api.methods import GetAccount, GetOutputs, GetStatus, GetTransaction
from node.cli.accounts import chain_point
from node.cli.main import main
from node.cli.openings import read_openings
from node.client import Client
from node.hidden.viewing import view_keys, viewing_seed
from node.keystore import Keystore
from node.wallet import Account, call, find_work, message
from state.encoding import encode
from state.transaction import (
    Body,
    Decoded,
    Message,
    OutPoint,
    Script,
    Transfer,
    TransferProof,
    Witness,
    assemble,
    decode_transaction,
    sign_digest,
)
from state.types import NATIVE, Address, Amount, Height, TxId
from state.zkvm.assembly import assemble_program
from state.zkvm.scripts import prove_call
from testnet.create import WALLET_PASSWORD
from tests.network.town import Town

pytestmark = pytest.mark.network

CONTRACTS = Path(__file__).resolve().parents[2] / "docs" / "contracts"
NXS = 1_000_000
ESCROW = ("escrow-release.zk", "escrow-refund.zk")
VESTING = ("vesting-claim.zk", "vesting-finish.zk")
AUCTION = (
    "auction-bid.zk", "auction-close2.zk:winner=1,loser=2", "auction-close2.zk:winner=2,loser=1", "auction-reclaim.zk",
    "auction-cancel.zk",
)  # fmt: skip
PEOPLE = ("alice", "bob", "carol")


class Village(Town):
    """Three people with coins in clear and published receiving keys, each with an own home."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.addresses: dict[str, str] = {}
        self._faucet = Keystore(root / "wallets" / "keys").open("faucet", WALLET_PASSWORD).key

    def nexus(self, home: str, *words: str, code: int = 0) -> Any:
        """Run a command as a person would, with a node of the network, in this process."""
        out, err = io.StringIO(), io.StringIO()
        shared = ("--output", "json", "--home", str(self.root / home), "--node", self.net.members[1].url)
        ended: object = 0
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main([*shared, *words])
        except SystemExit as left:
            ended = left.code
        assert (ended or 0) == code, out.getvalue() + err.getvalue()
        return json.loads(out.getvalue() if code == 0 else err.getvalue().strip().splitlines()[-1])

    def settle(self) -> None:
        """Give everybody a key, money, coins and a receiving key."""
        keys = {name: SecretKey.generate() for name in PEOPLE}
        for name, key in keys.items():
            Keystore(self.root / name / "keys").add(name, key, WALLET_PASSWORD, cost=Preset.QUICK)
            self.addresses[name] = encode_address(key.address)
        gift = Amount(300 * NXS)
        self.pay(*(message("token/transfer", Payment(NATIVE, Address(key.address), gift)) for key in keys.values()))
        for key in keys.values():
            coins = tuple(NewCoin(Address(key.address), Amount(20 * NXS)) for _ in range(6))
            receiving = view_keys(viewing_seed(key)).receiving
            self.pay(
                message("token/deposit", Deposit(NATIVE, coins)), message("confidential/publish", Publish(receiving)),
                key=key,
            )

    def pay(self, *messages: Message, key: SecretKey | None = None) -> None:
        """Call the modules by an account, by default the faucet's, and wait for the block."""
        signer = key or self._faucet
        with Client(self.net.members[1].url) as client:
            view = client.ask(GetAccount(address=encode_address(signer.address)))
            account = Account(Address(signer.address), signer.public_key, registered=bool(view.public_key))
            signed = call(chain_point(client), account, signer, int(view.pending_nonce), messages)
            receipt = client.submit_one(signed.raw, wait="committed", timeout=30.0).receipt
        assert receipt is not None
        assert receipt.reason == ""

    def height(self) -> int:
        with Client(self.net.members[1].url) as client:
            return int(client.ask(GetStatus()).height)

    def pass_time(self, height: int) -> None:
        """Let blocks come until one of this height is there: each payment makes one."""
        while self.height() < height:
            self.pay(message("token/transfer", Payment(NATIVE, Address(self._faucet.address), Amount(1))))

    def balance(self, who: str) -> dict[str, str]:
        found = self.nexus(who, "wallet", "balance", "--from", who, "--password-file", str(self.password))
        return {one["asset"]: one["amount"] for one in found["hidden"]}

    def deploy(self, who: str, kind: str, files: tuple[str, ...], *words: str) -> str:
        """Begin a contract; return its outpoint."""
        paths = [str(CONTRACTS / file) for file in files]
        sent = ("--from", who, "--password-file", str(self.password))
        return f"{self.nexus(who, 'script', 'deploy', kind, *paths, *words, *sent)['txid']}:0"

    def call(self, who: str, text: str, *words: str, code: int = 0) -> Any:
        """Call a contract with a file; return what the command says, or the reason of its refusal."""
        file = self.root / who / "call.toml"
        file.write_text(text)
        sent = ("--from", who, "--password-file", str(self.password))
        done = self.nexus(who, "script", "call", str(file), *words, *sent, code=code)
        return done if code == 0 else done["error"]["reason"]

    def share(self, who: str, outpoint: str, name: str) -> str:
        """Let somebody write down what is in an output; return the file."""
        file = self.root / name
        self.nexus(who, "script", "share", outpoint, "--out", str(file))
        return str(file)


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Village]:
    made = Village(tmp_path_factory.mktemp("contracts") / "net")
    try:
        made.start()
        made.settle()
        yield made
    finally:
        made.net.stop_all()


def call_file(programs: tuple[str, ...], run: int, inputs: list[str], *outputs: dict[str, Any], **more: Any) -> str:
    """Return a call file."""
    lines = [
        f"programs = {json.dumps([str(CONTRACTS / program) for program in programs])}", f"run = {run}",
        f"inputs = {json.dumps(inputs)}", *(f"{key} = {json.dumps(value)}" for key, value in more.items()),
    ]  # fmt: skip
    for output in outputs:
        lines += ["[[outputs]]", *(f"{key} = {json.dumps(value)}" for key, value in output.items())]
    return "\n".join(lines) + "\n"


def hidden(village: Village, owner: str, amount: str) -> dict[str, Any]:
    return {"type": "hidden", "owner": village.addresses[owner], "amount": amount}


def test_escrow(village: Village) -> None:
    seller, buyer = village.addresses["bob"], village.addresses["alice"]
    deadline = village.height() + 12
    data = f"{seller} + {buyer} + {deadline}u64"
    first = village.deploy("alice", "memo", ESCROW, "--amount", "7nxs", "--data", data)
    second = village.deploy("alice", "memo", ESCROW, "--amount", "5nxs", "--data", data)
    kept = village.root / "alice" / "openings.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert sorted(one.amount for one in read_openings(kept).values()) == [5 * NXS, 7 * NXS]

    release = call_file(ESCROW, 0, [first], hidden(village, "bob", "input.0"), not_after=deadline)
    assert village.call("bob", release, code=1) == Reason.BAD_ARGUMENT  # he does not know the opening
    told = ("--openings", village.share("alice", first, "told.json"))
    assert village.call("bob", release, *told, code=1) == Reason.SCRIPT_FAILED  # the buyer did not sign
    back = call_file(ESCROW, 0, [first], hidden(village, "alice", "input.0"), not_after=deadline)
    assert village.call("alice", back, code=1) == Reason.SCRIPT_FAILED
    (village.root / "alice" / "tried.toml").write_text(release)
    tried = village.nexus("alice", "script", "run", str(village.root / "alice" / "tried.toml"), "--from", "alice")
    assert tried["holds"] is True
    assert tried["multipliers"].startswith("0 of")  # deadline and signature are in the open; the sums are one equation
    done = village.call("alice", release)
    assert done["status"] == "committed"
    assert village.balance("bob")["unxs"] == "7nxs"
    assert village.call("alice", release, code=1) == Reason.OUTPUT_NOT_FOUND

    refund = call_file(ESCROW, 1, [second], hidden(village, "alice", "5nxs"), not_before=deadline + 1)
    assert village.call("alice", refund, code=1) == Reason.TOO_EARLY
    village.pass_time(deadline)
    late = call_file(ESCROW, 0, [second], hidden(village, "bob", "5nxs"))
    assert village.call("alice", late, code=1) == Reason.SCRIPT_FAILED
    village.call("alice", refund)
    assert village.balance("alice")["unxs"] == "5nxs"

    village.spread()
    with Client(village.net.members[3].url) as client:
        seen = decode_transaction(client.ask(GetTransaction(txid=done["txid"])).raw)
    assert isinstance(seen.body.payload, Script)
    assert (7 * NXS).to_bytes(4, "big") not in seen.raw
    assert (7 * NXS).to_bytes(4, "little") not in seen.raw


def made_raw(village: Village, who: str, text: str, monkeypatch: pytest.MonkeyPatch) -> Decoded:
    """Return the good transaction of a call, which was not sent."""
    kept: list[bytes] = []

    def keep(_client: Client, raw: bytes, **_: Any) -> None:
        kept.append(raw)
        raise Refused(Reason.CLOSING, "the test sends it")

    with monkeypatch.context() as patched:
        patched.setattr(Client, "submit_one", keep)
        assert village.call(who, text, code=1) == Reason.CLOSING
    (raw,) = kept
    return decode_transaction(raw)


def refusals(village: Village, raw: bytes) -> set[Reason]:
    """Hand wire bytes to every node; return the reasons that they give."""
    found = set()
    for member in village.net.members:
        with Client(member.url) as client, pytest.raises(Refused) as caught:
            client.submit_one(raw)
        found.add(caught.value.reason)
    return found


class Forge:
    """Changes a good transaction of alice, and signs it again: no command line that would stop it is asked."""

    def __init__(self, village: Village, good: Decoded) -> None:
        self.good = good
        self.payload = good.body.payload
        with Client(village.net.members[1].url) as client:
            self._difficulty = chain_point(client).difficulty
        self._keys = {
            name: Keystore(village.root / name / "keys").open(name, WALLET_PASSWORD).key for name in PEOPLE
        }

    def again(self, body: Body, signer: str = "alice", under: str = "alice", proofs: tuple[Any, ...] = ()) -> bytes:
        """Return a body with its hashcash and a signature of `signer` in the name of `under`."""
        body = find_work(body, self._difficulty)
        address = Address(self._keys[under].address)
        signature = self._keys[signer].sign(sign_digest(encode(body)))
        return assemble(body, (Witness(address, b"", signature),), proofs or self.good.transaction.proofs)

    def body(self, **changes: Any) -> Body:
        return replace(self.good.body, **changes)

    def script(self, **changes: Any) -> bytes:
        return self.again(self.body(payload=replace(self.payload, **changes)))

    def proven(self, **changes: Any) -> bytes:
        """Return the good body beside changed proofs."""
        (proof,) = self.good.transaction.proofs
        return self.again(self.good.body, proofs=(replace(proof, **changes),))


def flipped(raw: bytes, place: int) -> bytes:
    """Return bytes with one bit changed: in the low byte of a scalar it is a scalar as before, and another one."""
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


def test_raw_wrong_calls_are_refused_by_every_node(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command line of good will never sends: each node refuses it by name, and the money stays where it is."""
    seller, buyer = village.addresses["bob"], village.addresses["alice"]
    deadline = village.height() + 60
    data = f"{seller} + {buyer} + {deadline}u64"
    memo = village.deploy("alice", "memo", ESCROW, "--amount", "6nxs", "--data", data)
    release = call_file(ESCROW, 0, [memo], hidden(village, "bob", "input.0"), not_after=deadline)
    forge = Forge(village, made_raw(village, "alice", release, monkeypatch))
    assert isinstance(forge.payload, Script)
    payload, (proof,) = forge.payload, forge.good.transaction.proofs
    assert isinstance(proof, TransferProof)
    first, *rest = payload.outputs
    programs = [assemble_program((CONTRACTS / name).read_text("utf-8"), {}) for name in ESCROW]
    plain = Transfer(payload.inputs, payload.outputs)
    with Client(village.net.members[1].url) as client:
        listed = client.ask(GetOutputs(address=village.addresses["carol"], kind="coin")).outputs[:1]
    hers = tuple(OutPoint(TxId(bytes.fromhex(one.txid)), one.index) for one in listed)
    wrong = {
        "to the buyer": (forge.script(outputs=(replace(first, owner=Address(bytes(32))), *rest)), Reason.SCRIPT_FAILED),
        "after the deadline": (forge.again(forge.body(expiry=Height(deadline + 1))), Reason.SCRIPT_FAILED),
        "refund before it": (
            forge.script(program=programs[1], call=prove_call(programs, 1)), Reason.SCRIPT_FAILED
        ),
        "without the buyer": (
            forge.again(
                forge.body(payload=replace(payload, inputs=(payload.inputs[0], *hers), signers=())), "carol", "carol"
            ),
            Reason.SCRIPT_FAILED,
        ),
        "another program": (forge.script(program=payload.program + b"\x37\x02"), Reason.WRONG_SCRIPT),
        "another place": (forge.script(call=prove_call(programs, 1)), Reason.WRONG_SCRIPT),
        "no program": (
            forge.again(forge.body(payload=plain), proofs=(replace(proof, program=b""),)),
            Reason.OUTPUT_TYPE_NOT_ALLOWED,
        ),
        "another's signature": (forge.again(forge.good.body, signer="carol"), Reason.BAD_SIGNATURE),
        "another signer": (forge.again(forge.good.body, "carol", "carol"), Reason.MISSING_SIGNATURE),
        "more money": (forge.proven(excesses=(flipped(proof.excesses[0], 32),)), Reason.BAD_EXCESS),
        "a hole": (forge.proven(ranges=flipped(proof.ranges, 128)), Reason.BAD_RANGE_PROOF),
        "a lower fee": (forge.again(forge.body(fee=Amount(forge.good.body.fee - 1))), Reason.FEE_TOO_LOW),
        "inputs the other way round": (forge.script(inputs=payload.inputs[::-1]), Reason.SCRIPT_FAILED),
    }  # fmt: skip
    village.spread()
    said = {name: refusals(village, raw) for name, (raw, _) in wrong.items()}
    assert said == {name: {reason} for name, (_, reason) in wrong.items()}

    with Client(village.net.members[2].url) as client:  # nothing of it was taken, and the good one is
        receipt = client.submit_one(forge.good.raw, wait="committed", timeout=30.0).receipt
    assert receipt is not None
    assert receipt.reason == ""
    village.spread()
    assert refusals(village, forge.again(forge.body(expiry=Height(forge.good.body.expiry - 1)))) == {
        Reason.OUTPUT_NOT_FOUND
    }


def test_vesting(village: Village) -> None:
    beneficiary = village.addresses["carol"]
    start = village.height() + 2
    end = start + 20
    terms = ["--variable", beneficiary, "--variable", f"{end}u64", "--variable", "20u64", "--variable", "commitment"]
    grant = village.deploy("bob", "state", VESTING, "--amount", "40nxs", *terms)
    told = ("--openings", village.share("bob", grant, "grant.json"))
    middle = start + 10

    def claim(state: str, nonce: int, amount: int, left: int) -> str:
        successor = {
            "type": "state", "owner": village.addresses["bob"], "amount": f"{left}nxs", "nonce": nonce,
            "variables": [f"input.0.variable.{place}" for place in range(4)],
        }  # fmt: skip
        return call_file(
            VESTING, 0, [state], successor, hidden(village, "carol", f"{amount}nxs"), not_before=middle
        )

    village.pass_time(middle)
    assert village.call("carol", claim(grant, 1, 30, 10), *told, code=1) == Reason.UNPROVEN  # more than has vested
    assert village.call("carol", claim(grant, 2, 15, 25), *told, code=1) == Reason.SCRIPT_FAILED
    assert village.call("bob", claim(grant, 1, 15, 25), *told, code=1) == Reason.SCRIPT_FAILED  # not the beneficiary
    before = units(village, "carol")
    done = village.call("carol", claim(grant, 1, 15, 25), *told)
    left = f"{done['txid']}:0"
    finish = call_file(VESTING, 1, [left], hidden(village, "carol", "input.0"), not_before=end)
    village.pass_time(end)
    village.call("carol", finish)
    assert units(village, "carol") - before == 40


def units(village: Village, who: str) -> int:
    """Return what somebody's hidden coins hold, in whole nxs."""
    return int(village.balance(who).get("unxs", "0nxs").removesuffix("nxs"))


def test_auction(village: Village) -> None:
    seller = village.addresses["alice"]
    close = village.height() + 12
    variables = ["--variable", seller, "--variable", f"{close}u64"]
    state = village.deploy("alice", "state", AUCTION, "--amount", "3nxs", *variables, "--variable", "0x")
    item = village.share("alice", state, "item.json")
    bids = []
    for nonce, (who, amount) in enumerate((("bob", "8nxs"), ("carol", "11nxs")), start=1):
        successor = {
            "type": "state", "owner": seller, "amount": "input.0", "nonce": nonce,
            "variables": [
                "input.0.variable.0", "input.0.variable.1", "hash(input.0.variable.2 + output.1.commitment)"
            ],
        }  # fmt: skip
        bid = {
            "type": "memo", "owner": village.addresses[who], "amount": amount, "data": "input.0.variable.1",
        }  # fmt: skip
        text = call_file(AUCTION, 0, [state], successor, bid, not_after=close)
        if nonce == 1:
            late = call_file(AUCTION, 0, [state], successor, bid, not_after=close + 1)
            assert village.call(who, late, "--openings", item, code=1) == Reason.SCRIPT_FAILED
        done = village.call(who, text, "--openings", item)
        state, memo = f"{done['txid']}:0", f"{done['txid']}:1"
        bids.append(memo)
        # Whoever bids next has to know the item's new commitment; the seller learns the bid besides.
        item = village.share(who, state, f"item{nonce}.json")
        village.share(who, memo, f"bid{nonce}.json")
    known = [word for name in ("item2", "bid1", "bid2") for word in ("--openings", str(village.root / f"{name}.json"))]
    won = [hidden(village, "carol", "input.0"), hidden(village, "alice", "11nxs"), hidden(village, "bob", "8nxs")]
    closing = call_file(AUCTION, 2, [state, *bids], *won, not_before=close + 1)
    village.pass_time(close)
    lower = [hidden(village, "bob", "input.0"), hidden(village, "alice", "8nxs"), hidden(village, "carol", "11nxs")]
    wrong = call_file(AUCTION, 1, [state, *bids], *lower, not_before=close + 1)
    assert village.call("alice", wrong, *known, code=1) == Reason.UNPROVEN
    before = {who: units(village, who) for who in PEOPLE}
    village.call("alice", closing, *known)
    gained = {who: units(village, who) - before[who] for who in PEOPLE}
    assert gained == {"alice": 11, "bob": 8, "carol": 3}
