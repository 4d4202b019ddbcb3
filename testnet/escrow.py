"""A scene of the demo: an escrow whose amount only the parties know, released by the buyer and by nobody else."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from apps.script import sight_of
from apps.token.messages import Deposit, NewCoin
from crypto.address import decode_address
from crypto.confidential import Opening
from crypto.constraints import Opening as Committed
from crypto.errors import Reason
from node.api.methods import GetTransaction
from node.hidden.callfile import OutputPart
from node.hidden.contracting import Funds, Made, Surroundings, fund, make_outputs
from node.hidden.paying import Holding, Spendable, clear_coin, prove_movement
from node.hidden.scripting import ScriptPlan, Spent, draft_outputs, draft_script, script_gas, transfer_fee
from node.hidden.viewing import view_keys, viewing_seed
from node.wallet import Account, ChainPoint, Draft, body_of, find_work, message, sign_draft
from state.encoding import encode
from state.transaction import Coin, OutPoint, Output, Script, decode_transaction, sign_digest
from state.types import NATIVE, Address, Height, TxId
from state.zkvm.assembly import assemble_program
from state.zkvm.proving import prove_program
from state.zkvm.scripts import prove_call, script_address
from state.zkvm.sight import Secrets
from testnet.purse import Purse
from testnet.scenes import Company, nxs, shown
from testnet.stage import Stage

CONTRACTS: Final = Path(__file__).resolve().parents[1] / "docs" / "contracts"
PRICE: Final = nxs(20)
_ENTROPY: Final = 32
_DEADLINE: Final = 1000
"""Heights from now."""
_SIZES: Final = (4, 8)
_ORDERS: Final[tuple[Literal["little", "big"], ...]] = ("little", "big")


class Escrow(NamedTuple):
    """An escrow on chain, and what its commitment holds, which only the parties know."""

    programs: tuple[bytes, ...]
    memo: Spent
    openings: Mapping[bytes, Opening]


async def contract(stage: Stage, company: Company) -> None:
    """Pay into an escrow; try to take it as the wrong one; let it go as the buyer."""
    alice, bob = company.alice, company.bob
    for person in (alice, bob):
        coins = tuple(NewCoin(person.address, nxs(30)) for _ in range(2))
        await person.call(message("token/deposit", Deposit(NATIVE, coins)))
    escrow = await _pay_in(stage, company)
    stolen = await _released(company, escrow, bob)
    await stage.refused("bob, who is to be paid, releases it himself", Reason.SCRIPT_FAILED, bob.submit(stolen))
    raw = await _released(company, escrow, alice)
    receipt = (await alice.submit(raw)).receipt
    assert receipt is not None
    gas = f"block {receipt.height}, {len(raw)} bytes, {receipt.gas_used} gas"
    stage.check(not receipt.reason, "alice, the buyer, lets go", gas)
    seen = decode_transaction((await company.clients[2].ask(GetTransaction(txid=receipt.txid))).raw)
    price = [PRICE.to_bytes(size, order) for size in _SIZES for order in _ORDERS]
    hidden = not any(one in seen.raw for one in price)
    stage.check(hidden, "an observer sees program, parties and deadline", "and not the price")


async def _pay_in(stage: Stage, company: Company) -> Escrow:
    """Have alice put PRICE under the escrow's script; return what she knows."""
    alice, bob = company.alice, company.bob
    names = ("escrow-release", "escrow-refund")
    programs = tuple(assemble_program((CONTRACTS / f"{name}.zk").read_text("utf-8"), {}) for name in names)
    point, (account, _) = await alice.point(), await alice.account()
    data = f"{bob.text} + {alice.text} + {point.height + _DEADLINE}u64"
    around = _surroundings(company, alice, point)
    made = make_outputs([OutputPart("memo", alice.text, "price", data=data)], script_address(programs), (), {}, around)

    def least(spent: tuple[Spent, ...], whole: Made) -> int:
        return transfer_fee(point, spent, whole.outputs, [account])

    paid = fund(Funds(account, await _coins(alice)), (), made, around, None, least, {})
    draft = draft_outputs(
        point, paid.spent, paid.made.outputs, paid.made.openings, [account], paid.fee, secrets.token_bytes
    )
    signed = sign_draft(draft, {alice.address: alice.key})
    receipt = await alice.do(signed)
    stage.done(f"alice pays {shown(PRICE)} into an escrow for bob", f"block {receipt.height}, fee {receipt.fee} unxs")
    return Escrow(programs, Spent(OutPoint(TxId(signed.txid), 0), made.outputs[0]), made.openings)


async def _released(company: Company, escrow: Escrow, sender: Purse) -> bytes:
    """Return the escrow's release, signed by the sender alone; proven as if alice had signed, whoever sends it."""
    point, (account, _) = await sender.point(), await sender.account()
    around = _surroundings(company, sender, point)
    part = OutputPart("hidden", company.bob.text, "input.0", text="from the escrow")
    made = make_outputs([part], script_address(escrow.programs), [escrow.memo], escrow.openings, around)
    buyer = (await company.alice.account())[0]
    accounts = [account] if sender is company.alice else [account, buyer]

    def planned(spent: tuple[Spent, ...], whole: Made) -> ScriptPlan:
        return ScriptPlan(
            spent, whole.outputs, {**escrow.openings, **whole.openings}, escrow.programs[0],
            prove_call(escrow.programs, 0), signers=(company.alice.address,),
        )

    def least(spent: tuple[Spent, ...], whole: Made) -> int:
        return script_gas(point, planned(spent, whole), accounts) * point.min_gas_price

    funds = Funds(account, await _coins(sender))
    paid = fund(funds, [escrow.memo], made, around, None, least, escrow.openings)
    plan = planned(paid.spent, paid.made)
    if sender is company.alice:
        draft = draft_script(point, plan, accounts, paid.fee, secrets.token_bytes)
    else:
        draft = _forged(point, plan, accounts, paid.fee)
    return sign_draft(draft, {sender.address: sender.key}).raw


def _forged(point: ChainPoint, plan: ScriptPlan, accounts: list[Account], fee: int) -> Draft:
    """Return the transaction without the second account's signature: all its proofs hold, as if that were there."""
    spent = tuple(one.output for one in plan.spent)
    script = Script(
        tuple(one.outpoint for one in plan.spent), plan.made, plan.program, plan.call, (), (), Height(0),
        script_gas(point, plan, accounts),
    )
    body = find_work(body_of(point, script, fee, None), point.difficulty)
    context = sign_digest(encode(body))
    sight = sight_of(script, spent, body.expiry, {account.address for account in accounts})
    known = Secrets({key: Committed(*opening) for key, opening in plan.openings.items()}, iter(()))
    proof = prove_program(plan.program, sight, known, context, secrets.token_bytes(_ENTROPY))
    before, after = (
        [Holding(one.asset, _opening(one, plan), b"" if isinstance(one, Coin) else one.commitment) for one in outputs]
        for outputs in (spent, plan.made)
    )
    shows = prove_movement(context, before, after, fee, secrets.token_bytes)
    return Draft(body, (accounts[0],), (replace(shows, program=proof),))


def _opening(output: Output, plan: ScriptPlan) -> Opening:
    return Opening(output.amount, 0) if isinstance(output, Coin) else plan.openings[output.commitment]


def _surroundings(company: Company, sender: Purse, point: ChainPoint) -> Surroundings:
    """Return what the words of the contract mean: two people who gave each other their receiving keys."""
    keys = {person.address: view_keys(viewing_seed(person.key)) for person in (company.alice, company.bob)}
    return Surroundings(
        point.chain_id, lambda text: Address(decode_address(text)), lambda _: (NATIVE, PRICE),
        lambda owner: keys[owner].receiving, lambda: keys[sender.address].outgoing, secrets.token_bytes,
    )


async def _coins(person: Purse) -> list[Spendable]:
    return [clear_coin(one.outpoint, one.coin) for one in await person.coins()]
