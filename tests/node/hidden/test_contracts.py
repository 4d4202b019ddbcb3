"""The contracts of docs/contracts, executed for real in memory: what they allow, and what they refuse by name."""

import secrets
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from apps.prooftask import proofs_hold
from apps.validity import signatures_hold
from crypto.confidential import Opening, default_proofs
from crypto.errors import Reason, Refused
from crypto.hashing import Label, digest
from crypto.keys import SecretKey
from crypto.ristretto import ORDER
from crypto.schemes import Scheme
from node.hidden.scripting import ScriptPlan, Spent, draft_outputs, draft_script, script_gas, transfer_fee
from node.wallet import Account, ChainPoint, Draft, sign_draft
from state.receipt import Receipt
from state.transaction import (
    NO_SCRIPT,
    NOTE_SIZE,
    NOTHING,
    Coin,
    Decoded,
    HiddenCoin,
    Memo,
    OutPoint,
    Output,
    State,
    decode_transaction,
)
from state.types import MAX_INT, NATIVE, Address, Amount, ChainId, Height
from state.zkvm.assembly import assemble_program
from state.zkvm.instructions import decode_program
from state.zkvm.scripts import prove_call, script_address
from tests.apps.world import CHAIN, World

CONTRACTS = Path(__file__).resolve().parents[3] / "docs" / "contracts"
NXS = 1_000_000
FEE = 10 * NXS
FOREVER = Height(MAX_INT)
SELLER, BUYER, OTHER = 1, 2, 3


def little(number: int) -> bytes:
    return number.to_bytes(8, "little")


def program(name: str, **parameters: int) -> bytes:
    given = {key: bytes([value]) for key, value in parameters.items()}
    return assemble_program((CONTRACTS / f"{name}.zk").read_text(), given)


@cache
def key(number: int) -> SecretKey:
    return SecretKey.from_seed(Scheme.FALCON, bytes([70 + number]) * 32)


def owner(number: int) -> Address:
    return Address(key(number).address)


class Stage:
    """A world with people who know what is in all commitments."""

    def __init__(self) -> None:
        self.world = World()
        self.openings: dict[bytes, Opening] = {}

    @property
    def point(self) -> ChainPoint:
        return ChainPoint(ChainId(CHAIN), self.world.tip, Height(self.world.height))

    def commit(self, amount: int) -> bytes:
        opening = Opening(amount, secrets.randbelow(ORDER))
        commitment = default_proofs().commit(opening)
        self.openings[commitment] = opening
        return commitment

    def hidden(self, to: int, amount: int) -> HiddenCoin:
        return HiddenCoin(NATIVE, owner(to), self.commit(amount), bytes(NOTE_SIZE))

    def fund(self, number: int, amount: int) -> Spent:
        coin = Coin(NATIVE, owner(number), Amount(amount))
        outpoint = self.world.coin("alice", amount + NXS)
        decoded = self.world.transfer(["alice"], [outpoint], [coin], fee=NXS)
        self.world.block(decoded)
        return Spent(OutPoint(decoded.txid, 0), coin)

    def signed(self, draft: Draft) -> Decoded:
        keys = {account.address: key(self.number(account)) for account in draft.accounts}
        return decode_transaction(sign_draft(draft, keys).raw)

    @staticmethod
    def number(account: Account) -> int:
        return next(number for number in (SELLER, BUYER, OTHER) if owner(number) == account.address)

    def accounts(self, *numbers: int) -> list[Account]:
        return [Account(owner(number), key(number).public_key) for number in sorted(set(numbers), key=owner)]

    def take(self, decoded: Decoded) -> list[Spent]:
        """Put it into a block; return what it made."""
        receipt = self.run(decoded)
        assert receipt.reason == ""
        payload = decoded.body.payload
        assert not isinstance(payload, type(None)) and hasattr(payload, "outputs")
        return [Spent(OutPoint(decoded.txid, place), output) for place, output in enumerate(payload.outputs)]

    def run(self, decoded: Decoded) -> Receipt:
        return self.world.block(decoded, is_verified=signatures_hold, find_faults=proofs_hold).receipts[0]

    def deploy(self, who: int, amount: int, *made: Output) -> list[Spent]:
        """Pay for new outputs that hold `amount` together."""
        coin = self.fund(who, amount + FEE)
        draft = draft_outputs(self.point, [coin], made, self.openings, self.accounts(who), FEE, secrets.token_bytes)
        assert transfer_fee(self.point, [coin], made, self.accounts(who)) <= FEE
        return self.take(self.signed(draft))

    def call(
        self, programs: Sequence[bytes], index: int, spent: Sequence[Spent], made: Sequence[Output], *signers: int,
        not_before: int = 0, not_after: int = MAX_INT, pays: int = OTHER, data: tuple[bytes, ...] = (),
    ) -> Decoded:
        """Run a program; somebody brings a coin for the fee."""
        coin = self.fund(pays, FEE)
        plan = ScriptPlan(
            (*spent, coin), tuple(made), self.openings, programs[index], prove_call(programs, index), data,
            tuple(owner(number) for number in signers), Height(not_before), Height(not_after),
        )
        return self.signed(draft_script(self.point, plan, self.accounts(*signers, pays), FEE, secrets.token_bytes))

    def refused(self, *given: object, **named: object) -> Reason:
        with pytest.raises(Refused) as caught:
            self.run(self.call(*given, **named))  # type: ignore[arg-type]
        return caught.value.reason

    def pass_time(self, blocks: int) -> None:
        for _ in range(blocks):
            self.world.block()


@pytest.fixture
def stage() -> Stage:
    return Stage()


ESCROW = [program("escrow-release"), program("escrow-refund")]
RELEASE, REFUND = 0, 1


def escrow(stage: Stage, amount: int, deadline: int) -> Spent:
    data = owner(SELLER) + owner(BUYER) + little(deadline)
    memo = Memo(
        script_address(ESCROW), owner(BUYER), NATIVE, stage.commit(amount), data, Height(0), FOREVER
    )
    [made] = stage.deploy(BUYER, amount, memo)
    return made


def test_escrow_is_released(stage: Stage) -> None:
    memo = escrow(stage, 7 * NXS, deadline=900)
    paid = stage.hidden(SELLER, 7 * NXS)
    [made] = stage.take(stage.call(ESCROW, RELEASE, [memo], [paid], BUYER))
    assert made.output == paid


def test_escrow_into_a_coin_in_clear(stage: Stage) -> None:
    memo = escrow(stage, 7 * NXS, deadline=900)
    paid = Coin(NATIVE, owner(SELLER), Amount(7 * NXS))
    [made] = stage.take(stage.call(ESCROW, RELEASE, [memo], [paid], BUYER))
    assert made.output == paid


def test_escrow_is_released_by_nobody_else(stage: Stage) -> None:
    memo = escrow(stage, 7 * NXS, deadline=900)
    assert stage.refused(ESCROW, RELEASE, [memo], [stage.hidden(SELLER, 7 * NXS)], SELLER) is Reason.SCRIPT_FAILED
    assert stage.refused(ESCROW, RELEASE, [memo], [stage.hidden(BUYER, 7 * NXS)], BUYER) is Reason.SCRIPT_FAILED
    less = [stage.hidden(SELLER, 6 * NXS), stage.hidden(BUYER, NXS)]
    assert stage.refused(ESCROW, RELEASE, [memo], less, BUYER) is Reason.UNPROVEN


def test_escrow_is_refunded_after_its_deadline(stage: Stage) -> None:
    memo = escrow(stage, 7 * NXS, deadline=20)
    back = stage.hidden(BUYER, 7 * NXS)
    assert stage.refused(ESCROW, REFUND, [memo], [back]) is Reason.SCRIPT_FAILED
    assert stage.refused(ESCROW, REFUND, [memo], [back], not_before=20) is Reason.SCRIPT_FAILED
    assert stage.refused(ESCROW, REFUND, [memo], [back], not_before=21) is Reason.TOO_EARLY
    stage.pass_time(20)
    late = stage.hidden(SELLER, 7 * NXS)
    assert stage.refused(ESCROW, RELEASE, [memo], [late], BUYER) is Reason.SCRIPT_FAILED
    [made] = stage.take(stage.call(ESCROW, REFUND, [memo], [back], not_before=21))
    assert made.output == back


def test_a_guarded_output_needs_a_program_of_its_script(stage: Stage) -> None:
    memo = escrow(stage, 7 * NXS, deadline=900)
    mine = [b"", *ESCROW]
    assert stage.refused(mine, 0, [memo], [stage.hidden(OTHER, 7 * NXS)]) is Reason.WRONG_SCRIPT
    coin = stage.fund(OTHER, FEE)
    plain = draft_outputs(
        stage.point, [memo, coin], [stage.hidden(BUYER, 7 * NXS)], stage.openings, stage.accounts(BUYER, OTHER), FEE,
        secrets.token_bytes,
    )
    assert stage.world.refuses(stage.signed(plain)) is Reason.OUTPUT_TYPE_NOT_ALLOWED


VESTING = [program("vesting-claim"), program("vesting-finish")]
CLAIM, FINISH = 0, 1


def test_vesting(stage: Stage) -> None:
    """A grant of 100 nxs vests over heights 100 to 200."""
    whole = stage.commit(100 * NXS)
    terms = (owner(BUYER), little(200), little(100), whole)

    def left(nonce: int, amount: int, variables: tuple[bytes, ...] = terms) -> State:
        return State(
            nonce, script_address(VESTING), owner(SELLER), NATIVE, stage.commit(amount), variables, Height(0), FOREVER
        )

    def claim(state: Spent, amount: int, then: State, *signers: int, at: int) -> tuple[object, ...]:
        return VESTING, CLAIM, [state], [then, stage.hidden(BUYER, amount)], *(signers or (BUYER,))

    [grant] = stage.deploy(SELLER, 100 * NXS, left(0, 100 * NXS))
    stage.pass_time(150 - stage.world.height)
    for amount, then, signer, reason in (
        (51 * NXS, left(1, 49 * NXS), BUYER, Reason.UNPROVEN),  # more than has vested
        (40 * NXS, left(1, 60 * NXS), SELLER, Reason.SCRIPT_FAILED),  # not the beneficiary
        (40 * NXS, left(1, 60 * NXS, (owner(BUYER), little(100), *terms[2:])), BUYER, Reason.SCRIPT_FAILED),
        (40 * NXS, left(2, 60 * NXS), BUYER, Reason.SCRIPT_FAILED),
        (30 * NXS, left(1, 60 * NXS), BUYER, Reason.UNPROVEN),  # ten are missing
    ):
        given = claim(grant, amount, then, signer, at=150)
        assert stage.refused(*given, not_before=150) is reason
    kept, _ = stage.take(stage.call(*claim(grant, 40 * NXS, left(1, 60 * NXS), at=150), not_before=150))  # type: ignore[arg-type]
    assert stage.refused(VESTING, FINISH, [kept], [stage.hidden(BUYER, 60 * NXS)], BUYER, not_before=199) is (
        Reason.SCRIPT_FAILED
    )
    stage.pass_time(200 - stage.world.height)
    [rest] = stage.take(stage.call(VESTING, FINISH, [kept], [stage.hidden(BUYER, 60 * NXS)], BUYER, not_before=200))
    assert isinstance(rest.output, HiddenCoin)


AUCTION = [
    program("auction-bid"), program("auction-close2", winner=1, loser=2), program("auction-close2", winner=2, loser=1),
    program("auction-reclaim"), program("auction-cancel"),
]
BID, FIRST, SECOND, RECLAIM, CANCEL = range(5)
CLOSE = 60


class Auction:
    """An item of 3 nxs, and two bids."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.item = stage.commit(3 * NXS)
        [self.state] = stage.deploy(SELLER, 3 * NXS, self.successor(0, b""))
        self.bids: list[Spent] = []

    def successor(self, nonce: int, chain: bytes) -> State:
        variables = (owner(SELLER), little(CLOSE), chain)
        script = script_address(AUCTION)
        return State(nonce, script, owner(SELLER), NATIVE, self.item, variables, Height(0), FOREVER)

    def memo(self, who: int, amount: int) -> Memo:
        commitment = self.stage.commit(amount)
        return Memo(script_address(AUCTION), owner(who), NATIVE, commitment, little(CLOSE), Height(0), FOREVER)

    def bid(self, who: int, amount: int, chain: bytes | None = None) -> tuple[object, ...]:
        memo = self.memo(who, amount)
        assert isinstance(self.state.output, State)
        nonce, earlier = self.state.output.nonce, self.state.output.variables[2]
        after = chained(earlier, memo.commitment) if chain is None else chain
        money = self.stage.fund(who, amount)
        return AUCTION, BID, [self.state, money], [self.successor(nonce + 1, after), memo], who

    def take(self, who: int, amount: int) -> None:
        self.state, memo = self.stage.take(self.stage.call(*self.bid(who, amount), not_after=CLOSE))  # type: ignore[arg-type]
        self.bids.append(memo)

    def close(self, index: int, winner: int, price: int, loser: int, back: int) -> tuple[object, ...]:
        made = [self.stage.hidden(winner, 3 * NXS), self.stage.hidden(SELLER, price), self.stage.hidden(loser, back)]
        return AUCTION, index, [self.state, *self.bids], made


def chained(chain: bytes, commitment: bytes) -> bytes:
    return digest(Label.SCRIPT_HASH, chain + commitment)


def test_auction(stage: Stage) -> None:
    auction = Auction(stage)
    false = auction.bid(BUYER, 5 * NXS, chain=bytes(32))
    assert stage.refused(*false, not_after=CLOSE) is Reason.SCRIPT_FAILED
    assert stage.refused(*auction.bid(BUYER, 5 * NXS), not_after=CLOSE + 1) is Reason.SCRIPT_FAILED
    auction.take(BUYER, 5 * NXS)
    auction.take(OTHER, 8 * NXS)
    won = auction.close(SECOND, OTHER, 8 * NXS, BUYER, 5 * NXS)
    assert stage.refused(*won, not_before=CLOSE) is Reason.SCRIPT_FAILED
    stage.pass_time(CLOSE - stage.world.height)
    at = {"not_before": CLOSE + 1}
    wrong = auction.close(FIRST, BUYER, 5 * NXS, OTHER, 8 * NXS)
    assert stage.refused(*wrong, **at) is Reason.UNPROVEN  # the lower bid
    cheap = auction.close(SECOND, OTHER, 7 * NXS, BUYER, 6 * NXS)
    assert stage.refused(*cheap, **at) is Reason.UNPROVEN  # another price
    for robbed in (
        auction.close(SECOND, BUYER, 8 * NXS, BUYER, 5 * NXS), auction.close(SECOND, OTHER, 8 * NXS, OTHER, 5 * NXS)
    ):
        assert stage.refused(*robbed, **at) is Reason.SCRIPT_FAILED
    left_out = [stage.hidden(OTHER, 3 * NXS), stage.hidden(SELLER, 8 * NXS), stage.hidden(OTHER, 8 * NXS)]
    assert stage.refused(AUCTION, SECOND, [auction.state, auction.bids[1]], left_out, **at) is Reason.SCRIPT_FAILED
    decoded = stage.call(*won, **at)  # type: ignore[arg-type]
    item, price, back = stage.take(decoded)
    assert [one.output.owner for one in (item, price, back)] == [owner(OTHER), owner(SELLER), owner(BUYER)]
    assert all(little(amount * NXS) not in decoded.raw for amount in (3, 5, 8))  # no amount is in clear


def test_auction_that_nobody_closes(stage: Stage) -> None:
    auction = Auction(stage)
    auction.take(BUYER, 5 * NXS)
    [bid] = auction.bids
    mine = [stage.hidden(BUYER, 5 * NXS)]
    assert stage.refused(AUCTION, RECLAIM, [bid], mine, BUYER, not_before=CLOSE + 99) is Reason.SCRIPT_FAILED
    stage.pass_time(CLOSE + 100 - stage.world.height)
    assert stage.refused(AUCTION, RECLAIM, [bid], mine, SELLER, not_before=CLOSE + 100) is Reason.SCRIPT_FAILED
    stage.take(stage.call(AUCTION, RECLAIM, [bid], mine, BUYER, not_before=CLOSE + 100))
    item = [stage.hidden(SELLER, 3 * NXS)]
    stage.take(stage.call(AUCTION, CANCEL, [auction.state], item, SELLER, not_before=CLOSE + 100))


def test_money_moves_between_coins_memos_and_states(stage: Stage) -> None:
    """Without a script the owner's signature spends a Memo or a State: each form of money turns into each other."""
    memo = Memo(NO_SCRIPT, owner(BUYER), NATIVE, stage.commit(5 * NXS), b"note to self", Height(0), FOREVER)
    [held] = stage.deploy(BUYER, 5 * NXS, memo)
    state = State(0, NO_SCRIPT, owner(BUYER), NATIVE, stage.commit(4 * NXS), (), Height(0), FOREVER)
    coin = Coin(NATIVE, owner(BUYER), Amount(NXS))
    draft = draft_outputs(
        stage.point, [held, stage.fund(BUYER, FEE)], [state, coin], stage.openings, stage.accounts(BUYER), FEE,
        secrets.token_bytes,
    )
    made, _ = stage.take(stage.signed(draft))
    back = [Coin(NATIVE, owner(BUYER), Amount(4 * NXS))]
    for amount, reason in ((5 * NXS, Reason.UNPROVEN), (4 * NXS, None)):
        back = [Coin(NATIVE, owner(BUYER), Amount(amount))]
        spent = [made, stage.fund(BUYER, FEE)]
        try:
            stage.take(stage.signed(draft_outputs(
                stage.point, spent, back, stage.openings, stage.accounts(BUYER), FEE, secrets.token_bytes
            )))
        except Refused as refused:
            assert refused.reason is reason
        else:
            assert reason is None
    empty = Memo(NO_SCRIPT, owner(BUYER), NATIVE, NOTHING, b"", Height(0), FOREVER)
    stage.deploy(BUYER, 0, empty)


def test_gas_is_what_is_used(stage: Stage) -> None:
    memo = escrow(stage, 7 * NXS, deadline=900)
    coin = stage.fund(OTHER, FEE)
    made = (stage.hidden(SELLER, 7 * NXS),)
    plan = ScriptPlan(
        (memo, coin), made, stage.openings, ESCROW[0], prove_call(ESCROW, 0), signers=(owner(BUYER),)
    )
    accounts = stage.accounts(BUYER, OTHER)
    receipt = stage.run(stage.signed(draft_script(stage.point, plan, accounts, FEE, secrets.token_bytes)))
    assert receipt.gas_used == receipt.gas_wanted >= script_gas(stage.point, plan, accounts) - 16


def test_every_contract_decodes_back() -> None:
    for one in (*ESCROW, *VESTING, *AUCTION):
        assert decode_program(one)
