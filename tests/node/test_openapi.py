"""schemathesis against the API of a real node: what the document says is what the server does."""

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from crypto.address import encode_address
from state.types import Address
from tests.node.served import served_node

BOB = Address(b"\x07" * 32)
HOOKS = '''
import schemathesis
from hypothesis import strategies as st
from crypto.address import encode_address

known = st.sampled_from({known!r})
hashes = st.sampled_from({hashes!r})
schemathesis.openapi.format("nexus-hash", hashes | st.binary(min_size=32, max_size=32).map(bytes.hex))
schemathesis.openapi.format("nexus-address", known | st.binary(min_size=32, max_size=32).map(encode_address))
'''
CONFIG = """
[phases.stateful]
enabled = false

[checks.positive_data_acceptance]
# A well-formed question about what is not there, or not allowed, is refused by name.
expected-statuses = ["2xx", 400, 404, 409, 413, 429, 503, 504]

[checks.negative_data_rejection]
expected-statuses = [400, 404, 405, 413, 415]
"""


@pytest.mark.slow
async def test_schemathesis_finds_no_difference(tmp_path: Path) -> None:
    async with served_node(tmp_path) as served:
        signed = served.lab.pay(served.node, 0, 0, BOB, 5)
        await served.client.submit_one(signed.raw, wait="committed")
        known = [encode_address(BOB), encode_address(served.lab.wallet_keys[0].address)]
        (tmp_path / "hooks.py").write_text(HOOKS.format(known=known, hashes=[signed.txid.hex()]))
        (tmp_path / "schemathesis.toml").write_text(CONFIG)
        command = [
            str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(tmp_path / "schemathesis.toml"),
            "run", f"{served.url}/openapi.json", "--max-examples", "12", "--seed", "7", "--max-time", "40",
            "--generation-database", "none", "--request-timeout", "20",
        ]
        environment = {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": f"{tmp_path}:{Path.cwd()}", "NO_COLOR": "1"}
        done = await trio.run_process(
            command, capture_stdout=True, stderr=subprocess.STDOUT, check=False, env=environment, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout.decode()[-6000:]
