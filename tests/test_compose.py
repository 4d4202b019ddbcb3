"""compose.yml, as far as that shows without Docker: its form, and that it fits the homes that it has made."""

import ipaddress
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from crypto.errors import Reason, Refused
from node.config import load_config
from node.home import Home
from node.node import load_genesis, load_keys
from p2p.address import parse_peer_address
from testnet.containers import API_PORT, METRICS_PORT, make_homes

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = {name: one for name, one in SERVICES.items() if one["command"][-1:] == ["start"]}


def word_after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def home_of(service: dict[str, Any]) -> str:
    return Path(word_after(service["command"], "--home")).name


SUBNET = word_after(SERVICES["homes"]["command"], "--subnet")


def test_every_service_says_what_it_runs_where_it_keeps_it_and_where_it_is() -> None:
    (network,) = COMPOSE["networks"]
    assert COMPOSE["networks"][network]["enable_ipv6"] is True
    assert [one["subnet"] for one in COMPOSE["networks"][network]["ipam"]["config"]] == [SUBNET]
    addresses = [ipaddress.IPv6Address(one["networks"][network]["ipv6_address"]) for one in SERVICES.values()]
    assert len(set(addresses)) == len(addresses)
    assert all(address in ipaddress.IPv6Network(SUBNET) for address in addresses)
    for name, service in SERVICES.items():
        assert isinstance(service["command"], list) and all(isinstance(word, str) for word in service["command"]), name
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(COMPOSE["volumes"]), name
        assert "build" in service or "image" in service, name
        for port in service.get("ports", ()):
            assert ipaddress.IPv6Address(port["host_ip"]).is_loopback, name
    published = [port["published"] for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(set(published)) == len(published)
    assert len(NODES) == 5
    for name, service in NODES.items():
        assert service["depends_on"] == {"homes": {"condition": "service_completed_successfully"}}, name
        assert home_of(service) in service["healthcheck"]["test"][3], name


def test_the_homes_are_those_that_the_services_start(tmp_path: Path) -> None:
    words = SERVICES["homes"]["command"]
    validators, full = int(word_after(words, "--nodes")), int(word_after(words, "--full"))
    members = make_homes(tmp_path / "net", validators, full, SUBNET)
    assert sorted(home_of(service) for service in NODES.values()) == sorted(member.name for member in members)
    addresses = {}
    for service in NODES.values():
        home = Home(tmp_path / "net" / home_of(service))
        config, (network,) = load_config(home.config, {}), service["networks"].values()
        addresses[home.root.name] = config.listen_host
        assert config.listen_host == network["ipv6_address"]
        assert (config.api_host, config.api_port, config.metrics_port) == ("::", API_PORT, METRICS_PORT)
        load_keys(home, None)
    genesis = load_genesis(Home(tmp_path / "net" / "node0"))
    assert len(genesis.validators) == validators
    for place, member in enumerate(members):
        config = load_config(Home(tmp_path / "net" / member.name).config, {})
        peers = [parse_peer_address(text) for text in config.persistent_peers]
        assert {peer.host for peer in peers} == set(list(addresses.values())[:validators]) - {config.listen_host}
        assert config.role == ("validator" if place < validators else "full")
    targets = yaml.safe_load(COMPOSE["configs"]["prometheus"]["content"])["scrape_configs"][0]["static_configs"]
    assert targets[0]["targets"] == [f"[{address}]:{METRICS_PORT}" for address in addresses.values()]


def test_a_network_that_is_none_is_refused(tmp_path: Path) -> None:
    for subnet in ("10.0.0.0/8", "fd00::1/64", "fd00::/126", "x"):
        with pytest.raises(Refused) as caught:
            make_homes(tmp_path / "net", 4, 1, subnet)
        assert caught.value.reason is Reason.BAD_ARGUMENT
    assert not (tmp_path / "net").exists()


def test_the_image_runs_nexus_as_nobody_special() -> None:
    steps = [line.split(maxsplit=1) for line in (ROOT / "Dockerfile").read_text().splitlines() if line[:1].isupper()]
    said = dict(step for step in steps if len(step) == 2)
    assert shlex.split(said["ENTRYPOINT"].strip('[]"')) == ["nexus"]
    assert said["USER"] != "root"
    assert said["VOLUME"] == "/net"
