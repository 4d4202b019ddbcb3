"""What `nexus anonymous` says of itself, and what it refuses before it asks a node."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from crypto.errors import Reason, Refused
from crypto.keys import new_phrase
from node.anonymous.keys import decode_anonymous_address
from node.cli.commands.anonymous import app
from node.cli.main import app as nexus


def verbs(group: Any, name: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for verb, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= verbs(command, f"{name}{verb} ")
        else:
            found[f"{name}{verb}"] = command.help or ""
    return found


def test_every_help_text_says_what_it_is() -> None:
    helps = verbs(typer.main.get_command(app))
    accounts = {"open", "address", "balance", "send", "gather", "close", "history", "scan"}
    rings = {f"ring {verb}" for verb in ("mint", "address", "balance", "send", "history", "scan")}
    assert helps.keys() == accounts | rings
    assert all(text.startswith("EXPERIMENTAL, classical.") for text in helps.values())


def test_an_address_takes_no_node(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("twelve letters at least")
    common = ["--home", str(tmp_path), "--node", "http://[::1]:1", "--output", "json"]
    secret = ["--password-file", str(tmp_path / "password")]

    def run(*words: str, words_in: str = "") -> Any:
        ended = CliRunner().invoke(nexus, [*common, *words, *secret], input=words_in)
        if isinstance(ended.exception, Refused):
            raise ended.exception
        return json.loads(ended.stdout)

    phrase = new_phrase() + "\n"
    for name in ("a", "b"):
        run("keys", "add", name, "--recover", "--key-cost", "quick", words_in=phrase)
    texts = [run("anonymous", "address", "--from", name)["address"] for name in ("a", "b")]
    other = run("anonymous", "address", "--from", "a", "--number", "1")["address"]
    assert texts[0] == texts[1] != other
    assert decode_anonymous_address(texts[0]) != decode_anonymous_address(other)
    for words, reason in (
        (("anonymous", "send", "nx1abc", "1nxs", "--from", "a"), Reason.BAD_ADDRESS),
        (("anonymous", "send", texts[0][:-1] + "q", "1nxs", "--from", "a"), Reason.BAD_ADDRESS),
        (("anonymous", "send", texts[0], "70000nxs", "--from", "a"), Reason.AMOUNT_OUT_OF_RANGE),
        (("anonymous", "send", texts[0], "1nxs", "--from", "nobody"), Reason.KEY_NOT_FOUND),
        (("anonymous", "send", texts[0], "1nxs", "--from", "a"), Reason.UNREACHABLE),
        (("anonymous", "scan", "--amount", "much", "--from", "a"), Reason.BAD_ARGUMENT),
        (("anonymous", "scan", "--amount", "3gold", "--from", "a"), Reason.BAD_ARGUMENT),
        (("anonymous", "close", "1nxs", "--all", "--from", "a"), Reason.USAGE),
        (("anonymous", "ring", "send", texts[0], "1nxs", "--from", "a"), Reason.BAD_ADDRESS),
        (("anonymous", "ring", "send", "nxring1abc", "1nxs", "--from", "a"), Reason.BAD_ADDRESS),
    ):
        with pytest.raises(Refused) as refused:
            run(*words)
        assert refused.value.reason is reason
