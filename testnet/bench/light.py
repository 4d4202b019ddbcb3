"""What a light client costs: one query, and catching up 10,000 headers by bisection, at 4 and at 100 validators.

The chain of headers is made in memory and its commits are signed with real Falcon-1024 keys before the clock starts. A
tenth of the power changes at every epoch of 600 blocks, so the set of the last header shares nothing with that of the
first. Bytes are those of the answers as JSON. CPU is the client's: from the bytes of an answer to the verdict; what the
node needs to answer is left out.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio

from apps.chain.rules import genesis_validators
from consensus.signing import KeySigner, SchemeVerifier
from consensus.types import Validator, ValidatorSet, make_validator_set
from crypto.address import encode_address
from crypto.keys import SecretKey
from node.api import methods
from node.api.methods import BY_ASK
from node.api.text import from_json, to_json
from node.light.answer import RememberingVerifier
from node.light.answering import ProvenAnswers
from node.light.client import Surroundings
from node.light.opening import Place, open_light
from node.light.roots import HeaderRoot, Root
from state.encoding import encode
from state.genesis import Genesis, GenesisBalance, GenesisValidator
from state.params import ChainParams, SecurityParams, Timing
from state.types import Address, Amount, Height
from testnet.headers import Forge, ForgedChain, ForgedNode
from testnet.measure import falcon_verify_seconds, figure, json_lines

HEADERS: Final = 10_000
EPOCH: Final = 600
SHARE: Final = 10
"""One in so many validators is replaced at an epoch, at least one at every third epoch."""
ALICE: Final = Address(b"\x07" * 32)
QUESTION: Final = methods.GetBalance(address=encode_address(ALICE))
SIZES: Final = (4, 100)


class Wire:
    """A node behind a wire: answers go through their bytes. The client's CPU begins with the bytes.

    Args:
        node: answers.

    Attributes:
        bytes: of all answers.
        elsewhere: CPU seconds that went into answering.
        asked: how many questions.
    """

    def __init__(self, node: ForgedNode) -> None:
        self.url = node.url
        self.bytes = 0
        self.elsewhere = 0.0
        self.asked = 0
        self._node = node

    async def ask(self, ask: Any) -> Any:
        """Return the answer, decoded from its bytes."""
        begun = time.process_time()
        raw = to_json(await self._node.ask(ask))
        self.elsewhere += time.process_time() - begun
        self.bytes += len(raw)
        self.asked += 1
        return from_json(raw, BY_ASK[type(ask)].answer)


def forged(size: int, headers: int) -> ForgedChain:
    """Return a chain whose validators change little by little."""
    replaced = max(1, size // SHARE)
    every = EPOCH if size >= SHARE else 3 * EPOCH
    changes = range(every + 1, headers, every)
    keys = [SecretKey.generate() for _ in range(size + replaced * len(changes))]
    genesis = Genesis(
        version=1, name="bench", time=1_700_000_000_000, timing=Timing(), chain=ChainParams(),
        security=SecurityParams(),
        validators=tuple(
            GenesisValidator(key.public_key, 10, Address(key.address), f"v{place}")
            for place, key in enumerate(keys[:size])
        ),
        balances=(GenesisBalance(ALICE, "nxs", Amount(5)),),
    )
    sets = {start: _set(keys[replaced * step : replaced * step + size]) for step, start in enumerate(changes, start=1)}
    return Forge(genesis, {Address(key.address): KeySigner(key) for key in keys}, sets).chain(headers)


def _set(keys: Sequence[SecretKey]) -> ValidatorSet:
    return make_validator_set([
        Validator(Address(key.address), key.public_key, 10, Address(key.address)) for key in keys
    ])


async def opened(chain: ForgedChain, wire: Wire, height: int) -> ProvenAnswers:
    """Return a light client that trusts the block of a height."""
    now = chain.headers[-1].time
    around = Surroundings(wire, (), lambda: now, RememberingVerifier(SchemeVerifier()), lambda told: None)
    root: Root = HeaderRoot(Height(height), chain.headers[height - 1].block_id)
    return await open_light(Place(Path("unused"), root, keep=False), around)


async def measured(chain: ForgedChain, size: int, falcon: float) -> list[Any]:
    """Return the figures of one size of the set."""
    node = ForgedNode("bench", chain)
    await (await opened(chain, Wire(node), 1)).client.update()  # signs what will be asked
    wire = Wire(node)
    begun = time.process_time()
    answers = await opened(chain, wire, 1)
    start, first = wire.bytes, time.process_time() - begun - wire.elsewhere
    await answers.client.update()
    cpu, sent, asked = time.process_time() - begun - wire.elsewhere - first, wire.bytes - start, wire.asked
    per_query = Wire(node)
    near = await opened(chain, per_query, len(chain.headers) - 100)
    opening = per_query.bytes, time.process_time() - per_query.elsewhere
    answered = await near.answer(QUESTION)
    query_cpu = time.process_time() - per_query.elsewhere - opening[1]
    kept = await near.answer(QUESTION)
    again = per_query.bytes
    await near.answer(QUESTION)
    again = per_query.bytes - again
    if answered.outcome != kept.outcome or answered.outcome.unwrap().amount != 5:
        raise AssertionError("a light client was told something else than what is")
    file = len(encode(await near.record(answered)))
    name, reference = f"{size} validators", f"a Falcon check takes {falcon * 1e6:.0f} us here"
    steps = len(await _way(answers))
    return [
        figure(f"light catch-up bytes, {name}", sent / 1e3, "kB", None,
               f"{len(chain.headers)} headers, {steps} verified"),
        figure(f"light catch-up cpu, {name}", cpu * 1e3, "ms", None, f"{asked} answers; {reference}"),
        figure(f"light query bytes, {name}", (per_query.bytes - opening[0] - 2 * again) / 1e3, "kB", None,
               "a balance, from a header 100 blocks older"),
        figure(f"light query cpu, {name}", query_cpu * 1e3, "ms", None, reference),
        figure(f"light query bytes on a known header, {name}", again / 1e3, "kB"),
        figure(f"light proof file, {name}", file / 1e3, "kB", None, "genesis, trusted block, newest block, proof"),
    ]


async def _way(answers: ProvenAnswers) -> tuple[Any, ...]:
    """Return the verified blocks that lead from the root to the newest header."""
    recorded = await answers.record(await answers.answer(methods.GetHeader(height="latest")))
    return recorded.blocks[1:]


def main() -> int:
    """Measure both sizes and print the lines."""
    parser = argparse.ArgumentParser(prog="nexus bench light", description=__doc__)
    parser.add_argument("--headers", type=int, default=HEADERS)
    parser.add_argument("--validators", type=int, nargs="*", default=list(SIZES))
    given, _ = parser.parse_known_args()
    falcon = falcon_verify_seconds()
    for size in given.validators:
        chain = forged(size, given.headers)
        if genesis_validators(chain.forge.genesis) != chain.sets[0]:
            raise AssertionError("the first set is not that of the genesis")
        for line in json_lines(trio.run(measured, chain, size, falcon)):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
