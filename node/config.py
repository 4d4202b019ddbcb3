"""The node's settings: one frozen value, read once from TOML and the environment, every mistake named at once."""

import difflib
import ipaddress
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from crypto.errors import Reason, Refused
from node.home import write_file
from p2p.address import parse_peer_address, parse_place

Port = Annotated[int, Meta(ge=0, le=65535)]
"""0 lets the system choose, which tests and local networks use."""
Name = Annotated[str, Meta(
    min_length=1, max_length=70, pattern=r"^[\w .:@#+-]+$",
    description="text of 1 to 70 letters, digits, spaces and . : @ # + - _",
)]  # fmt: skip
Span = Annotated[str, Meta(pattern="^[1-9][0-9]{0,3}[mh]$", description='minutes or hours, as "30m" or "1h"')]


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything an operator may set. Times in ms, sizes in bytes, unless the name says otherwise."""

    moniker: Name = "node"
    """What people call this node."""
    role: Literal["validator", "guarded", "full", "seed", "sentry"] = "validator"
    """What the node is to others: see node/peering.py."""
    external_address: str = ""
    """`[ADDR]:PORT` that others are told to dial; empty for the listening one."""
    listen_host: str = "::1"
    """IPv6 address for peers."""
    listen_port: Port = 7100
    """UDP port for peers."""
    persistent_peers: tuple[str, ...] = ()
    """`ID@[ADDR]:PORT` of peers to stay connected to."""
    seeds: tuple[str, ...] = ()
    """`ID@[ADDR]:PORT` of peers to meet others through."""
    max_peers: Annotated[int, Meta(ge=1, le=1000)] = 64
    """Connections kept at most."""
    quic_core: Literal["qh3", "aioquic"] = "qh3"
    """Which QUIC implementation carries the packets."""
    datagram_size: Annotated[int, Meta(ge=1200, le=16000)] = 1232
    """UDP payload; 1232 passes every IPv6 path, loopback carries more."""
    api_host: str = "::1"
    """IPv6 address of the HTTP API."""
    api_port: Port = 8000
    """TCP port of the HTTP API (also RPC_SERVER_PORT)."""
    metrics_port: Port = 2500
    """TCP port for Prometheus, on the API's address (also TELEMETRY_PORT)."""
    mempool_transactions: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    """Pending transactions kept at most; of one sender a tenth."""
    mempool_bytes: Annotated[int, Meta(ge=65536)] = 64 << 20
    """Bytes of pending transactions kept at most."""
    signature_workers: Literal["auto", "inline"] | Annotated[int, Meta(ge=1, le=64)] = "auto"
    """Threads that check signatures; "inline" uses none, "auto" decides by the number of processors."""
    snapshot_every: Annotated[int, Meta(ge=0)] | Span = 5000
    """A snapshot for those who join is made of every height that this divides, or, with "30m" or "6h", so often by the
    chain's clock; 0 for none.
    """
    keep_blocks: Literal["all", "archive"] | Annotated[int, Meta(ge=1000)] = "all"
    """Blocks that stay stored; "archive" keeps them all, and what it takes to answer for the state of every height."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"


ALIASES: Final[Mapping[str, str]] = MappingProxyType({
    "RPC_SERVER_PORT": "api_port",
    "TELEMETRY_PORT": "metrics_port",
})
"""Environment names from before this node; NEXUS_<KEY> goes first."""
PREFIX: Final = "NEXUS_"
WORDS_OR_NUMBERS: Final = frozenset({"signature_workers", "keep_blocks", "snapshot_every"})
"""Settings that take either: a number in the environment is text that has to become one."""
FOREIGN: Final = frozenset({
    "NEXUS_HOME", "NEXUS_VECTORS", "NEXUS_PASSWORD", "NEXUS_NODE", "NEXUS_OUTPUT", "NEXUS_FROM", "NEXUS_DEBUG",
})
"""NEXUS_* names that are no settings: the CLI and the tests read them."""


@dataclass(frozen=True, slots=True)
class _Setting:
    key: str
    value: Any
    source: str
    text: bool  # from the environment: numbers, booleans and lists arrive as text


def load_config(path: Path, environment: Mapping[str, str]) -> NodeConfig:
    """Read the settings of a home, the environment going before the file.

    Args:
        path: config.toml.
        environment: usually `os.environ`; NEXUS_<KEY> in capitals, lists separated by commas.

    Raises:
        Refused: BAD_CONFIG with every wrong key and value in one sentence each.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(Reason.BAD_CONFIG, f"{path.name} cannot be read: {error}") from None
    settings = [_Setting(key, value, path.name, False) for key, value in table.items()]
    settings += _from_environment(environment)
    return _build(settings)


def make_config(**values: Any) -> NodeConfig:
    """Return settings from plain values, checked the same way. Raises Refused(BAD_CONFIG)."""
    return _build([_Setting(key, value, "", False) for key, value in values.items()])


def save_config(path: Path, config: NodeConfig) -> None:
    """Write the settings as TOML, one key a line, in one step."""
    lines = [f"{key} = {_toml(value)}" for key, value in msgspec.to_builtins(config).items()]
    write_file(path, ("\n".join(lines) + "\n").encode())


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if not isinstance(value, str | int | float):
        return str(value)
    # a JSON string, number or boolean is a TOML one, but for the escaped slash that msgspec never writes
    return msgspec.json.encode(value).decode()


def _from_environment(environment: Mapping[str, str]) -> list[_Setting]:
    aliased = [
        _Setting(key, environment[name], name, True) for name, key in ALIASES.items() if name in environment
    ]
    named = [
        _Setting(name.removeprefix(PREFIX).lower(), text, name, True)
        for name, text in sorted(environment.items())
        if name.startswith(PREFIX) and name not in FOREIGN
    ]
    return aliased + named


def _build(settings: list[_Setting]) -> NodeConfig:
    kinds = {field.name: field.type for field in msgspec.structs.fields(NodeConfig)}
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for setting in settings:
        where = f"{setting.source}: " if setting.source else ""
        if setting.key not in kinds:
            near = difflib.get_close_matches(setting.key, kinds, 1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            wrong.append(f"{where}there is no setting {setting.key!r}{meant}")
            continue
        try:
            values[setting.key] = _convert(setting, kinds[setting.key])
        except msgspec.ValidationError:
            what = expected(kinds[setting.key])
            wrong.append(f"{where}{setting.key} = {_toml(setting.value)}: must be {what}")
    config = NodeConfig(**values)
    wrong += _cross_checks(config)
    if wrong:
        raise Refused(Reason.BAD_CONFIG, "; ".join(wrong))
    return config


def expected(kind: Any) -> str:
    """Return in words what a setting of this type may be."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return " or ".join(expected(part) for part in typing.get_args(kind))
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        return ("one of " if len(choices) > 1 else "") + ", ".join(f'"{choice}"' for choice in choices)
    limits = next((part for part in getattr(kind, "__metadata__", ()) if isinstance(part, Meta)), Meta())
    plain = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    if limits.description:
        return limits.description
    if plain is int:
        return f"a whole number, {limits.ge} " + (f"to {limits.le}" if limits.le is not None else "or more")
    return "text in quotes" if plain is str else 'a list of texts, as ["ID@[ADDR]:PORT"]'


def _convert(setting: _Setting, kind: Any) -> Any:
    value = setting.value
    if setting.text and kind == tuple[str, ...]:
        value = tuple(part.strip() for part in value.split(",") if part.strip())
    elif setting.key in WORDS_OR_NUMBERS and isinstance(value, str) and value.isdecimal():
        value = int(value)
    return msgspec.convert(value, kind, strict=not setting.text)


def _cross_checks(config: NodeConfig) -> list[str]:
    wrong: list[str] = []
    for key in ("listen_host", "api_host"):
        try:
            ipaddress.IPv6Address(getattr(config, key))
        except ValueError:
            wrong.append(f"{key} = {getattr(config, key)!r} is no IPv6 address")
    for key in ("persistent_peers", "seeds"):
        for text in getattr(config, key):
            try:
                parse_peer_address(text)
            except Refused as refused:
                wrong.append(f"{key}: {refused.detail}")
    if config.external_address:
        try:
            parse_place(config.external_address)
        except Refused as refused:
            wrong.append(f"external_address: {refused.detail}")
    if config.role == "guarded" and not config.persistent_peers:
        wrong.append("role = 'guarded': such a validator speaks to its sentries alone: name them in persistent_peers")
    if config.role == "guarded" and config.seeds:
        wrong.append("role = 'guarded': a guarded validator asks no seeds")
    if config.api_port and config.api_port == config.metrics_port:
        wrong.append(f"api_port and metrics_port are both {config.api_port}")
    return wrong
