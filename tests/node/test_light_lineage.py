"""The history of a contract through a light client: proven from end to end, against nodes that shorten or change it."""

import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from crypto.errors import Reason, Refused
from node.api import methods, shapes
from node.api.text import Decimal
from node.cli.main import main
from node.cli.trust import clock
from node.light.answering import ProvenAnswers
from node.light.client import Surroundings
from node.light.opening import Place, open_light
from node.light.roots import GenesisRoot
from node.light.source import Source
from state.genesis import genesis_hash
from state.transaction import Output
from tests.node.served import Served, served_node
from tests.node.test_light import REMEMBERING, young_lab
from tests.node.test_tracing import COIN, FEE, Contract

Change = Callable[[Any, Any], Any]
"""Bends an answer to a question."""


class Liar:
    """A node that bends its answers."""

    def __init__(self, honest: Source, change: Change) -> None:
        self.url, self._honest, self._change = honest.url, honest, change

    async def ask(self, ask: methods.Ask[Any]) -> Any:
        return self._change(ask, await self._honest.ask(ask))


class Story(Contract):
    """Two contracts of the same owner: one of three versions, which ends or not, and another one."""

    async def begin(self) -> None:
        coins = await self.deposit(5)
        self.mine = await self.send(self.outputs(coins[:1], [self.state(0, b"a"), self.coin(COIN - FEE)]))
        self.other = await self.send(self.outputs(coins[1:2], [self.state(0, b"x"), self.coin(COIN - FEE)]))
        self.coins = coins[2:]

    async def go_on(self, nonce: int) -> None:
        made: list[Output] = [self.state(nonce, b"v%d" % nonce), self.coin(COIN - FEE)]
        self.mine = await self.send(self.outputs([self.mine[0], self.coins.pop()], made))

    async def end(self) -> None:
        await self.send(self.outputs([self.mine[0], self.coins.pop()], [self.coin(COIN - FEE)]))

    async def settle(self) -> None:
        """Wait for the block that proves what was sent last; it may be there already."""
        with trio.fail_after(60):
            while self.served.node.core.chain.tip.needs_proof_block:
                await trio.sleep(0.02)


@asynccontextmanager
async def told(folder: Path) -> AsyncIterator[Story]:
    async with served_node(folder, young_lab(folder)) as served:
        story = Story(served)
        await story.begin()
        await story.go_on(1)
        await story.go_on(2)
        yield story


async def through(served: Served, change: Change = lambda _ask, answer: answer) -> ProvenAnswers:
    around = Surroundings(Liar(served.client, change), (), clock, REMEMBERING, lambda told: None)
    return await open_light(Place(Path("none"), GenesisRoot(genesis_hash(served.lab.genesis)), keep=False), around)


async def history(served: Served, question: Any, change: Change = lambda _ask, answer: answer) -> shapes.StateHistory:
    answers = await through(served, change)
    found: shapes.StateHistory = (await answers.answer(question)).outcome.unwrap()
    return found


def asking(txid: bytes) -> methods.GetStateHistory:
    return methods.GetStateHistory(txid=txid.hex(), index=0)


def listing(bend: Callable[[shapes.StateHistory], shapes.StateHistory]) -> Change:
    """Bend the history that the node tells, and nothing else."""
    return lambda ask, answer: bend(answer) if isinstance(ask, methods.GetStateHistory) else answer


def with_versions(*places: int) -> Change:
    """Tell of these versions alone."""
    return listing(lambda told: msgspec.structs.replace(told, versions=[told.versions[place] for place in places]))


def without_end(told: shapes.StateHistory) -> shapes.StateHistory:
    return msgspec.structs.replace(told, ended=None)


async def test_a_history_is_proven_whether_it_goes_on_or_not(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.settle()
        served, question = story.served, asking(story.sent[3].txid)
        plain = await served.client.ask(question)
        assert await history(served, question) == plain
        assert [(int(one.nonce), one.unspent) for one in plain.versions] == [(0, False), (1, False), (2, True)]
        await story.end()
        await story.settle()
        assert await history(served, question) == await served.client.ask(question)
        assert (await history(served, question)).ended is not None
        for limit, first in ((1, "0"), (2, "1"), (1, "2")):
            part = msgspec.structs.replace(question, limit=limit, first=first)
            assert await history(served, part) == await served.client.ask(part)


async def test_the_command_shows_it_with_what_it_was_verified_by(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.settle()
        place, chain_id = f"{story.sent[1].txid.hex()}:0", genesis_hash(story.served.lab.genesis).hex()

        def shown(*words: str) -> Any:
            out = io.StringIO()
            with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as exited:
                main(["--node", story.served.url, "--home", str(tmp_path / "home"), "--output", "json", *words])
            assert exited.value.code == 0
            return json.loads(out.getvalue())

        words = ("light", "query", "state-history", place, "--chain-id", chain_id, "--first", "1")
        found = await trio.to_thread.run_sync(lambda: shown(*words))
        assert ([one["nonce"] for one in found["versions"]], found["complete"]) == (["1", "2"], True)
        assert found["verified"]["chain_id"] == chain_id


async def test_what_a_node_says_besides_changes_nothing(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.settle()
        served, question = story.served, asking(story.mine[0].outpoint.txid)
        plain = await served.client.ask(question)

        def embroider(told: shapes.StateHistory) -> shapes.StateHistory:
            versions = [msgspec.structs.replace(one, variables=["00"], unspent=False) for one in told.versions]
            ended = shapes.StateEnd(txid=story.sent[0].txid.hex(), height=Decimal(1))
            return msgspec.structs.replace(told, versions=versions, ended=ended, complete=False)

        assert await history(served, question, listing(embroider)) == plain


async def test_a_history_that_is_shortened_or_wrong_is_refused(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        await story.end()
        await story.settle()
        served, question = story.served, asking(story.sent[1].txid)
        other = await served.client.ask(asking(story.other[0].outpoint.txid))
        deposit = story.sent[0].txid.hex()

        def young(told: shapes.StateHistory) -> shapes.StateHistory:
            late = msgspec.structs.replace(told.versions[-1], height=Decimal(10**6))
            return msgspec.structs.replace(told, versions=[*told.versions[:-1], late], ended=None)

        def ended_by(txid: str) -> Change:
            return listing(lambda told: msgspec.structs.replace(
                told, ended=shapes.StateEnd(txid=txid, height=Decimal(1))
            ))

        def exchanged(ask: Any, answer: Any) -> Any:
            if isinstance(ask, methods.GetTransaction) and ask.txid == story.sent[3].txid.hex():
                return msgspec.structs.replace(answer, raw=story.sent[4].raw)
            return answer

        lies: list[tuple[Change, Reason]] = [
            (listing(without_end), Reason.BAD_PROOF),
            (with_versions(0, 1), Reason.BAD_PROOF),  # the last one is left out
            (listing(lambda told: msgspec.structs.replace(told, versions=told.versions[:2], ended=None)),
             Reason.BAD_PROOF),
            (listing(young), Reason.BAD_PROOF),
            (with_versions(0, 2), Reason.BAD_PROOF),
            (with_versions(0, 2, 1), Reason.BAD_PROOF),
            (with_versions(0, 1, 1, 2), Reason.BAD_PROOF),
            (with_versions(), Reason.BAD_PROOF),
            (with_versions(1, 2), Reason.NOT_AVAILABLE),  # as a node says that came by a snapshot
            (listing(lambda _told: other), Reason.BAD_PROOF),
            (ended_by(deposit), Reason.BAD_PROOF),
            (ended_by(story.sent[4].txid.hex()), Reason.BAD_PROOF),
            (exchanged, Reason.BAD_PROOF),
        ]  # fmt: skip
        for change, reason in lies:
            with pytest.raises(Refused) as caught:
                await history(served, question, change)
            assert caught.value.reason is reason, caught.value.detail


async def test_a_state_that_no_node_knows_has_none(tmp_path: Path) -> None:
    async with told(tmp_path) as story:
        with pytest.raises(Refused) as caught:
            await history(story.served, asking(bytes(32)))
        assert caught.value.reason is Reason.OUTPUT_NOT_FOUND
