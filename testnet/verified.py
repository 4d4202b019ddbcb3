"""The demo's light client: the command line asks one node that nobody trusts, and a bent answer is found out."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from apps.token.messages import Transfer
from crypto.errors import Reason, Refused
from node.wallet import message
from state.types import NATIVE
from testnet.liar import ABOUT_HEADERS, ABOUT_VALUES, GIFT, lying_server
from testnet.outage import caught_up
from testnet.scenes import Company, nxs, shown
from testnet.stage import Stage

PLACES: Final = (0.02, 0.2, 0.4, 0.6, 0.8, 0.98)
"""Where bytes of the recorded answer are flipped, as shares of its length."""


async def light(stage: Stage, company: Company) -> None:
    """Verify a balance and a receipt from the genesis hash alone; bend recorded answers; ask servers that lie."""
    alice, chain_id = company.alice, company.network.manifest.chain_id
    receipt = await alice.call(message("token/transfer", Transfer(NATIVE, company.bob.address, nxs(3))))
    expected = await alice.balance()
    # the proof of what a block did stands in the next header, and this node may be a moment behind the wallet's
    await caught_up(company, company.clients[1], int(receipt.height) + 1)
    trust = ["--chain-id", chain_id, "--witness", company.network.members[2].url]
    node = ["--node", company.network.members[1].url, *trust]
    record = company.network.root / "answer"
    stage.tell(f"nexus light query balance {alice.text[:16]}... --chain-id {chain_id[:12]}...")
    answer = await nexus("light", "query", "balance", alice.text, *node, "--export", str(record))
    proof = answer["verified"]
    power = f"{proof['power']} of {proof['total_power']} power"
    outcome = f"{proof['signatures']} signatures with {power}, block {proof['height']}"
    stage.check(int(answer["amount"]) == expected, f"alice holds {shown(expected)}: verified", outcome)
    answer = await nexus("light", "query", "receipt", receipt.txid, *node)
    good = answer["receipt"]["txid"] == receipt.txid and answer["receipt"]["reason"] == ""
    stage.check(good, "the receipt of her last payment: verified", f"block {answer['receipt']['height']}")
    whole = record.read_bytes()
    reasons: Counter[str] = Counter()
    for share in PLACES:
        bent = bytearray(whole)
        bent[int(share * len(whole))] ^= 1
        reasons[await judged(record, bytes(bent), alice.text, chain_id)] += 1
    outcome = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    stage.check(reasons["accepted"] == 0, f"{len(PLACES)} answers with one bit flipped are all refused", outcome)
    await lies(stage, company, trust)
    stranger = ["--node", company.network.members[1].url, "--chain-id", "ab" * 32]
    await stage.refused(
        "the same node, asked about another chain", Reason.WRONG_CHAIN,
        nexus("light", "query", "balance", alice.text, *stranger),
    )


async def lies(stage: Stage, company: Company, trust: list[str]) -> None:
    """Ask a server that adds a million to every balance: who believes it is rich, who verifies is told."""
    alice = company.alice
    async with lying_server(company.clients[1], ABOUT_VALUES) as url:
        told = await nexus("query", "balance", alice.text, "--node", url)
        rich = int(told["amount"]) >= GIFT
        stage.check(rich, "a server that lies, and a wallet that believes it", f"alice seems to hold {told['balance']}")
        await stage.refused(
            "the same server, and a light client", Reason.BAD_PROOF,
            nexus("light", "query", "balance", alice.text, "--node", url, *trust),
        )
    async with lying_server(company.clients[1], ABOUT_HEADERS) as url:
        await stage.refused(
            "a server that forges headers, and a light client", Reason.BAD_COMMIT,
            nexus("light", "query", "balance", alice.text, "--node", url, *trust),
        )


async def judged(record: Path, content: bytes, address: str, chain_id: str) -> str:
    """Let the command line verify a recorded answer; return the reason of its refusal, or "accepted"."""
    record.write_bytes(content)
    try:
        await nexus("light", "verify", str(record), "balance", address, "--chain-id", chain_id)
    except Refused as refused:
        return refused.reason.value
    return "accepted"


async def nexus(*words: str) -> dict[str, Any]:
    """Run the command line as a process of its own and return its answer.

    Raises:
        Refused: what it was refused for.
    """
    command = [sys.executable, "-m", "node.cli.main", "--output", "json", *words]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NEXUS_")}
    ended = await trio.run_process(
        command, env=environment, capture_stdout=True, capture_stderr=True, check=False, stdin=subprocess.DEVNULL
    )
    if ended.returncode == 0:
        return msgspec.json.decode(ended.stdout, type=dict[str, Any])
    try:
        error = msgspec.json.decode(ended.stderr.strip().splitlines()[-1])["error"]
        reason, detail = Reason(error["reason"]), str(error["detail"])
    except (msgspec.DecodeError, LookupError, ValueError):
        raise Refused(Reason.INTERNAL, ended.stderr.decode("utf-8", "replace")[-500:]) from None
    raise Refused(reason, detail)
