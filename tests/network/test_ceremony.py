"""A genesis ceremony from four homes made by the command line to blocks that all four vote for."""

import io
import json
import socket
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from apps.token.messages import Transfer
from crypto.errors import Reason
from node.api.methods import GetHeader, GetValidators
from node.cli.main import main
from node.client import AsyncClient, Client
from node.config import load_config, save_config
from node.home import Home
from node.keystore import Keystore
from node.wallet import message
from p2p.address import parse_peer_address
from state.types import NATIVE, UNXS_PER_NXS, Address, Amount
from testnet.manifest import VERSION, Manifest, Member, save_manifest
from testnet.network import LocalNetwork
from testnet.processes import free_ports
from testnet.purse import Purse
from testnet.view import look

pytestmark = pytest.mark.network
PASSWORD = "ceremony"
NODES = 4
GIVEN, BONDED = 1000, (100, 100, 150, 120)


def nexus(*words: str) -> Any:
    """Run one command in this process and return its answer."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()), pytest.raises(SystemExit) as end:
        main(["--output", "json", *words])
    assert end.value.code == 0
    return json.loads(out.getvalue())


def refused(*words: str) -> Reason:
    """Run one command in this process and return why it was refused."""
    err = io.StringIO()
    with redirect_stderr(err), redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as end:
        main(["--output", "json", *words])
    assert end.value.code == 1
    return Reason(json.loads(err.getvalue().splitlines()[-1])["error"]["reason"])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("NEXUS_PASSWORD", PASSWORD)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    if (tmp_path / "testnet.json").exists():
        LocalNetwork(tmp_path).stop_all()


def sign_parts(root: Path) -> list[Member]:
    """Make the homes, the draft with an account for each, and everybody's part of it."""
    nexus("genesis", "draft", "draft.json", "--name", "together", "--set", "security.epoch_length=50")
    udp, tcp = free_ports(NODES, socket.SOCK_DGRAM), free_ports(2 * NODES, socket.SOCK_STREAM)
    members = []
    for number in range(NODES):
        home = f"node{number}"
        made = nexus("--home", home, "init", f"operator {number}", "--key-cost", "quick")
        nexus("genesis", "add-account", "draft.json", made["operator"], f"{GIVEN}nxs")
        members.append(Member(home, made["node_id"], udp[number], tcp[2 * number], tcp[2 * number + 1]))
        path = Home(root / home).config
        config = load_config(path, {})
        ports = {"listen_port": udp[number], "api_port": tcp[2 * number], "metrics_port": tcp[2 * number + 1]}
        save_config(path, replace(config, **ports))
    for number, member in enumerate(members):
        place = f"[::1]:{member.listen_port}"
        part = ("--home", member.name, "genesis", "gentx", "draft.json", f"{BONDED[number]}nxs")
        assert nexus(*part, "--node-address", place)["power"] == str(BONDED[number])
    return members


async def test_four_operators_begin_a_chain(root: Path) -> None:
    members = sign_parts(root)
    chain_id = nexus("genesis", "collect", "draft.json")["chain_id"]
    other = root / "others"
    other.mkdir()
    for place, path in enumerate(sorted((root / "gentxs").iterdir(), reverse=True)):
        (other / f"{place}.json").write_bytes(path.read_bytes())
    nexus("genesis", "collect", "draft.json", "--dir", "others", "--output-file", "again.json")
    assert (root / "again.json").read_bytes() == (root / "genesis.json").read_bytes()
    assert nexus("genesis", "validate", "genesis.json")["chain_id"] == chain_id
    assert refused("genesis", "validate", "draft.json") is Reason.BAD_GENESIS
    assert nexus("genesis", "validate", "--draft", "draft.json")["validators"] == "0"
    for member in members:
        adopted = nexus("--home", member.name, "genesis", "adopt", "genesis.json")
        assert adopted["chain_id"] == chain_id and len(adopted["persistent_peers"]) == NODES - 1
        assert {parse_peer_address(text).peer_id.hex() for text in adopted["persistent_peers"]} == {
            one.peer_id for one in members if one is not member
        }
    save_manifest(root, Manifest(VERSION, chain_id, tuple(members)))
    network = LocalNetwork(root)
    network.start_all()
    network.wait_until(lambda: all(row.state == "running" and row.peers == NODES - 1 for row in look(network)), "start")
    keys = [Keystore(root / member.name / "keys").open("operator", PASSWORD).key for member in members]
    async with AsyncClient(members[0].url) as client:
        purse = Purse("operator", keys[0], client)
        await purse.call(message("token/transfer", Transfer(NATIVE, Address(keys[1].address), Amount(5))))
        left = await Purse("operator", keys[1], client).balance()
    assert left == (GIVEN - BONDED[1]) * UNXS_PER_NXS + 5
    asked = Client(members[2].url)
    network.wait_until(lambda: all((row.height or 0) >= 2 for row in look(network)), "blocks")
    assert len({Client(member.url).ask(GetHeader(height="1")).block_id for member in members}) == 1
    powers = sorted(int(one.power) for one in asked.ask(GetValidators()).validators)
    assert powers == sorted(BONDED)
    assert refused("--home", "node0", "genesis", "adopt", "genesis.json") is Reason.HOME_EXISTS
