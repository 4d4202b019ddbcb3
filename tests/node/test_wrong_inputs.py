"""What a hasty operator does to a fresh home: each wrong thing is refused by name, and nothing is changed by it.

The sentence names what is wrong, too: the key, the field, or the file.
"""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crypto.errors import Reason
from node.cli.main import main
from node.config import NodeConfig, expected


def run(*words: str) -> tuple[int, dict[str, Any]]:
    """Run one command in this process; return the exit code and the error, if there is one."""
    err = io.StringIO()
    with redirect_stderr(err), redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as end:
        main(["--output", "json", *words])
    code = int(end.value.code or 0)
    return code, json.loads(err.getvalue().splitlines()[-1])["error"] if code == 1 else {}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home as `nexus init` makes it; nobody changes it."""
    home = tmp_path_factory.mktemp("fresh") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXUS_PASSWORD", "correct horse")
        assert run("--home", str(home), "init", "alice", "--key-cost", "quick")[0] == 0
        yield home


@pytest.fixture
def home(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEXUS_PASSWORD", "correct horse")
    shutil.copytree(fresh, tmp_path / "home")
    return tmp_path / "home"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def setting(key: str, value: str) -> Callable[[Path], None]:
    """Replace one line of config.toml."""

    def change(home: Path) -> None:
        path = home / "config.toml"
        lines = [line for line in path.read_text().splitlines() if line.split(" ")[0] != key]
        path.write_text("\n".join([*lines, f"{key} = {value}"]) + "\n")

    return change


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def change(home: Path) -> None:
        (home / name).write_bytes(content)

    return change


def delete(name: str) -> Callable[[Path], None]:
    return lambda home: (home / name).unlink()


def edit_genesis(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(home: Path) -> None:
        document = json.loads((home / "genesis.json").read_bytes())
        change(document)
        (home / "genesis.json").write_bytes(json.dumps(document).encode())

    return edit


def same_keys(home: Path) -> None:
    shutil.copy2(home / "keys" / "consensus_key.json", home / "keys" / "node_key.json")


KEY, NODE, STATE = "keys/consensus_key.json", "keys/node_key.json", "keys/consensus_key.state"


@pytest.mark.parametrize(
    ("change", "reason", "named"),
    [
        (setting("api_prot", "8000"), Reason.BAD_CONFIG, "api_port"),
        (setting("api_port", '"8000"'), Reason.BAD_CONFIG, "api_port"),
        (setting("api_port", "80000"), Reason.BAD_CONFIG, "65535"),
        (setting("api_port", "8000x"), Reason.BAD_CONFIG, "config.toml"),
        (setting("metrics_port", "8000"), Reason.BAD_CONFIG, "metrics_port"),
        (setting("role", '"Validator"'), Reason.BAD_CONFIG, "sentry"),
        (setting("listen_host", '"127.0.0.1"'), Reason.BAD_CONFIG, "listen_host"),
        (setting("listen_host", '"localhost"'), Reason.BAD_CONFIG, "listen_host"),
        (setting("external_address", '"here"'), Reason.BAD_CONFIG, "external_address"),
        (setting("seeds", '"x"'), Reason.BAD_CONFIG, "seeds"),
        (setting("seeds", '["nobody@[::1]:7100"]'), Reason.BAD_CONFIG, "seeds"),
        (setting("max_peers", "true"), Reason.BAD_CONFIG, "max_peers"),
        (setting("keep_blocks", '"some"'), Reason.BAD_CONFIG, "archive"),
        (setting("keep_blocks", "5"), Reason.BAD_CONFIG, "1000"),
        (setting("moniker", '"a/b"'), Reason.BAD_CONFIG, "moniker"),
        (write("config.toml", b"\xff\xfe"), Reason.BAD_CONFIG, "config.toml"),
        (delete("config.toml"), Reason.HOME_MISSING, "nexus init"),
        (write("genesis.json", b"{"), Reason.BAD_GENESIS, "genesis.json"),
        (write("genesis.json", b"\xff"), Reason.BAD_GENESIS, "genesis.json"),
        (delete("genesis.json"), Reason.BAD_GENESIS, "genesis.json"),
        (delete("genesis.hash"), Reason.BAD_GENESIS, "genesis.hash"),
        (write("genesis.hash", b"\xff"), Reason.BAD_GENESIS, "genesis.hash"),
        (write("genesis.hash", b"zz"), Reason.GENESIS_MISMATCH, "zz"),
        (edit_genesis(lambda one: one.update(name="other")), Reason.GENESIS_MISMATCH, "genesis.json"),
        (edit_genesis(lambda one: one["timing"].update(timeout_propsoe=1)), Reason.BAD_GENESIS, "timeout_propose"),
        (edit_genesis(lambda one: one["validators"][0].update(power=10)), Reason.BAD_GENESIS, "validators[0].power"),
        (edit_genesis(lambda one: one.pop("chain")), Reason.BAD_GENESIS, "chain"),
        (write(KEY, b""), Reason.BAD_KEY_FILE, "consensus_key.json"),
        (write(KEY, b'{"a": 1}'), Reason.BAD_KEY_FILE, "consensus_key.json"),
        (delete(KEY), Reason.KEY_NOT_FOUND, "consensus_key.json"),
        (delete(NODE), Reason.KEY_NOT_FOUND, "node_key"),
        (same_keys, Reason.BAD_KEY_FILE, "node_key.json"),
        (delete(STATE), Reason.BAD_SIGN_STATE, "sign-state"),
    ],
)
def test_a_home_that_was_spoilt(home: Path, change: Callable[[Path], None], reason: Reason, named: str) -> None:
    change(home)
    before = snapshot(home)
    code, error = run("--home", str(home), "start")
    assert (code, error["reason"]) == (1, reason.value)
    assert named in error["detail"]
    assert snapshot(home) == before


@pytest.mark.parametrize(
    ("words", "reason", "named"),
    [
        (("",), Reason.BAD_CONFIG, "moniker"),
        (("a/b",), Reason.BAD_CONFIG, "moniker"),
        (("alice", "--role", "king"), Reason.BAD_CONFIG, "sentry"),
        (("alice", "--genesis", "nothere.json"), Reason.BAD_GENESIS, "nothere.json"),
        (("alice", "--genesis", "/"), Reason.BAD_GENESIS, "/"),
        (("alice", "--genesis", "broken.json"), Reason.BAD_GENESIS, "broken.json"),
        (("alice", "--genesis", "broken.json", "--seeds", "abc"), Reason.BAD_CONFIG, "abc"),
    ],
)
def test_an_init_that_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], reason: Reason, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXUS_PASSWORD", "correct horse")
    (tmp_path / "broken.json").write_text('{"version": 1')
    code, error = run("--home", "home", "init", *words)
    assert (code, error["reason"]) == (1, reason.value)
    assert named in error["detail"]
    assert not (tmp_path / "home").exists()


def test_a_place_that_is_none_and_a_home_that_is_there(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    before = snapshot(home)
    for place, reason in (("file", Reason.BAD_ARGUMENT), ("home", Reason.HOME_EXISTS)):
        code, error = run("--home", str(tmp_path / place), "init", "alice", "--key-cost", "quick")
        assert (code, error["reason"]) == (1, reason.value)
    assert snapshot(home) == before


def test_the_environment_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXUS_API_PORT", "http")
    monkeypatch.setenv("NEXUS_LISTENHOST", "::1")
    code, error = run("--home", str(home), "start")
    assert (code, error["reason"]) == (1, Reason.BAD_CONFIG.value)
    assert "NEXUS_API_PORT" in error["detail"] and "NEXUS_LISTENHOST" in error["detail"]


def test_a_part_is_named_after_its_moniker_and_stays_in_its_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("genesis", "draft", "draft.json", "--name", "x")[0] == 0
    assert run("--home", "home", "genesis", "add-account", "draft.json", "operator", "5nxs")[0] == 0
    code, error = run("--home", "home", "genesis", "gentx", "draft.json", "5nxs", "--moniker", "../x")
    assert (code, error["reason"]) == (1, Reason.BAD_CONFIG.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["draft.json", "home"]


KINDS = {field.name: field.type for field in msgspec.structs.fields(NodeConfig)}


@pytest.mark.parametrize("key", KINDS)
def test_every_setting_says_what_it_may_be(key: str) -> None:
    said = expected(KINDS[key])
    assert said and "None" not in said and "<" not in said
