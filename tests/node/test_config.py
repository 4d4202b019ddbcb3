import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import Reason, Refused
from node.config import NodeConfig, load_config, make_config, save_config

KEYS = [field.name for field in msgspec.structs.fields(NodeConfig)]
PEER = "ab" * 32 + "@[::1]:7100"


def refused(**values: Any) -> str:
    with pytest.raises(Refused) as caught:
        make_config(**values)
    assert caught.value.reason is Reason.BAD_CONFIG
    return caught.value.detail


def test_there_are_at_most_twenty_settings() -> None:
    assert len(KEYS) <= 20


def test_saved_settings_load_again(tmp_path: Path) -> None:
    config = make_config(moniker="möwe 1", persistent_peers=[PEER], signature_workers=3, log_format="json")
    save_config(tmp_path / "config.toml", config)
    assert load_config(tmp_path / "config.toml", {}) == config
    assert list(tomllib.loads((tmp_path / "config.toml").read_text())) == KEYS


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    save_config(tmp_path / "config.toml", make_config(api_port=8001, metrics_port=2501))
    environment = {
        "NEXUS_API_PORT": "8002", "RPC_SERVER_PORT": "8003", "TELEMETRY_PORT": "2502", "NEXUS_KEEP_BLOCKS": "5000",
        "NEXUS_SEEDS": f"{PEER}, {PEER}", "NEXUS_SIGNATURE_WORKERS": "2", "NEXUS_HOME": "/elsewhere", "PATH": "/bin",
    }
    config = load_config(tmp_path / "config.toml", environment)
    assert (config.api_port, config.metrics_port, config.keep_blocks) == (8002, 2502, 5000)
    assert (config.seeds, config.signature_workers) == ((PEER, PEER), 2)


def test_every_mistake_is_named_at_once() -> None:
    detail = refused(
        api_prot=1, listen_port=70_000, quic_core="quic", listen_host="127.0.0.1", seeds=["x@y:1"],
        keep_blocks=10,
    )
    for key in ("api_prot", "listen_port", "quic_core", "listen_host", "seeds", "keep_blocks"):
        assert key in detail


@pytest.mark.parametrize("values", [
    {"moniker": ""}, {"moniker": "a\nb"}, {"datagram_size": 1199}, {"datagram_size": 60_000}, {"signature_workers": 0},
    {"signature_workers": "many"}, {"mempool_transactions": 0}, {"api_port": 9, "metrics_port": 9},
    {"persistent_peers": "abc"}, {"persistent_peers": ["ab@[::1]:1"]}, {"persistent_peers": ["ab" * 32 + "@1.2.3.4:1"]},
])
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    refused(**values)


@pytest.mark.parametrize("content", [b"moniker = ", b"\xff\xfe", b"[section]\nmoniker = 'a'"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(Refused) as caught:
        load_config(path, {})
    assert caught.value.reason is Reason.BAD_CONFIG


ANYTHING = st.one_of(
    st.integers(), st.text(max_size=8), st.booleans(), st.lists(st.text(max_size=4), max_size=2), st.none(), st.floats()
)


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING))
def test_any_values_give_settings_or_one_refusal(values: dict[str, Any]) -> None:
    try:
        make_config(**values)
    except Refused as error:
        assert error.reason is Reason.BAD_CONFIG
