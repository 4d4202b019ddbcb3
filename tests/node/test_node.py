"""What stops a node from starting has a name, and comes out of `run_node` as that name alone."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto.errors import Reason, Refused
from node.config import make_config, save_config
from node.home import Home, init_home, write_file
from node.keystore import CONSENSUS_KEY, NODE_KEY, save_node_key
from node.node import run_node
from node.sign_export import begin_state
from state.genesis import genesis_hash
from state.genesis_json import genesis_to_json
from state.types import Address
from tests.node.lab import Lab


@pytest.fixture
def home(tmp_path: Path) -> Home:
    lab = Lab(tmp_path, size=1)
    made = init_home(tmp_path / "home")
    save_config(made.config, make_config(listen_port=0, api_port=0, metrics_port=0, log_level="error"))
    write_file(made.genesis, genesis_to_json(lab.genesis))
    write_file(made.genesis_hash, genesis_hash(lab.genesis).hex().encode() + b"\n")
    save_node_key(made.keys / f"{NODE_KEY}.json", lab.node_keys[0])
    save_node_key(made.keys / f"{CONSENSUS_KEY}.json", lab.consensus_keys[0])
    begin_state(made, Address(lab.consensus_keys[0].address), genesis_hash(lab.genesis))
    return made


@pytest.fixture
def taken_port() -> Iterator[int]:
    stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6, stream) as tcp, socket.socket(socket.AF_INET6, datagram) as udp:
        tcp.bind(("::1", 0))
        tcp.listen()
        udp.bind(("::1", tcp.getsockname()[1]))
        yield tcp.getsockname()[1]


def reason(home: Home, **environment: str) -> Reason:
    with pytest.raises(Refused) as caught:
        run_node(home.root, environment)
    return caught.value.reason


@pytest.mark.parametrize("setting", ["NEXUS_LISTEN_PORT", "NEXUS_API_PORT", "NEXUS_METRICS_PORT"])
def test_a_port_in_use(home: Home, taken_port: int, setting: str) -> None:
    assert reason(home, **{setting: str(taken_port)}) is Reason.PORT_IN_USE


def test_no_home(tmp_path: Path) -> None:
    assert reason(Home(tmp_path / "nothing")) is Reason.HOME_MISSING


def test_a_wrong_setting(home: Home) -> None:
    assert reason(home, NEXUS_API_PORT="many") is Reason.BAD_CONFIG


def test_a_changed_genesis(home: Home) -> None:
    text = home.genesis.read_bytes()
    write_file(home.genesis, text.replace(b'"lab"', b'"bal"'))
    assert reason(home) is Reason.GENESIS_MISMATCH
    write_file(home.genesis, text[:-30])
    assert reason(home) is Reason.BAD_GENESIS


def test_a_missing_key(home: Home) -> None:
    (home.keys / f"{NODE_KEY}.json").unlink()
    assert reason(home) is Reason.KEY_NOT_FOUND


def test_a_missing_consensus_key(home: Home) -> None:
    home.sign_state.touch()
    (home.keys / f"{CONSENSUS_KEY}.json").unlink(missing_ok=True)
    assert reason(home) is Reason.KEY_NOT_FOUND


def test_a_damaged_database(home: Home, taken_port: int) -> None:
    # a first start makes the database and ends at its API
    assert reason(home, NEXUS_API_PORT=str(taken_port)) is Reason.PORT_IN_USE
    for path in [path for path in home.chain.iterdir() if path.suffix in (".log", ".ldb")]:
        content = bytearray(path.read_bytes())
        for at in range(len(content) // 3, len(content), 97):
            content[at] ^= 0x40
        path.write_bytes(bytes(content))
    assert reason(home) is Reason.CORRUPT_DATABASE


def test_a_consensus_key_without_what_it_signed(home: Home) -> None:
    home.sign_state.unlink()
    assert reason(home) is Reason.BAD_SIGN_STATE
