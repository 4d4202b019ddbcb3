"""What the `nexus script` commands share: programs from files, inputs from the node, plans from call files."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from apps.gas import program_gas
from apps.script import needed_signers, sight_of
from crypto.address import encode_address
from crypto.confidential import Opening, default_proofs
from crypto.constraints import Opening as Committed
from crypto.errors import Reason, Refused
from node.api.methods import GetOutput, QueryModule
from node.cli.accounts import address_named, amount_of, chain_point, coins_of
from node.cli.sending import Sending
from node.cli.session import Session
from node.cli.viewing import own_keys, own_wallet
from node.client import Client
from node.hidden.callfile import CallFile, OutputPart, read_call
from node.hidden.contracting import Funds, Made, Surroundings, fund, make_outputs
from node.hidden.expressions import Scope, evaluate
from node.hidden.paying import Spendable, clear_coin
from node.hidden.reading import scan
from node.hidden.scripting import ScriptPlan, Spent, draft_outputs, draft_script, script_gas, transfer_fee
from node.keystore import KeyEntry, Keystore
from node.wallet import Account, ChainPoint, Draft, Progress
from state.encoding import Codec
from state.transaction import OutPoint, Output, Script
from state.types import MAX_INT, Address, Height
from state.zkvm.assembly import assemble_program, parameters_of
from state.zkvm.machine import MAX_MULTIPLIERS, MAX_WORK, run_program
from state.zkvm.proving import prove_program
from state.zkvm.scripts import prove_call, script_address
from state.zkvm.sight import Secrets

_output_codec: Final[Codec[Output]] = Codec(Output)  # type: ignore[arg-type]
_ENTROPY: Final = 32


class Programs(NamedTuple):
    """A script's programs, and which of them runs."""

    all: Sequence[bytes]
    run: int


Drafted = Callable[[ChainPoint, Account, int | None, Progress], tuple[Draft, Mapping[bytes, Opening]]]
"""Drafts a transaction, given chain, sender, fee and whom to tell of the hashcash; and what its commitments hold."""
DraftedCall = Callable[[ChainPoint, Sequence[Account], int | None, Progress], tuple[Draft, Mapping[bytes, Opening]]]
"""The same for several signers, of whom the first pays."""


# ---- programs


def program_bytes(file: str, parameters: Mapping[str, str], scope: Scope, folder: Path = Path()) -> bytes:
    """Return the program in a file: hex, or text that is compiled.

    Args:
        file: its path, or FILE:name=value,... with parameters of its own.
        parameters: those for all programs, as expressions.
        scope: what they may speak of.
        folder: from which a relative path goes.

    Raises:
        Refused: BAD_PROGRAM with file and line; BAD_ARGUMENT.
    """
    path, own = _named(file, folder)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{path} cannot be read: {error}") from None
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    wanted = parameters_of(text)
    for name in own:
        if name not in wanted:
            asked = ", ".join(wanted) or "none"
            raise Refused(Reason.BAD_ARGUMENT, f"{path} asks for no parameter {name!r}; it asks for {asked}")
    given = {**parameters, **own}
    values = {name: evaluate(given[name], scope) for name in wanted if name in given}
    try:
        return assemble_program(text, values)
    except Refused as refused:
        raise Refused(refused.reason, f"{path.name}, {refused.detail}") from None


def _named(file: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """Return the path and the parameters of FILE:name=value,..."""
    name, _, rest = file.partition(":")
    if not rest:
        return folder / file.removesuffix(":"), {}
    own = {}
    for one in rest.split(","):
        key, separator, value = one.partition("=")
        if not separator:
            raise Refused(Reason.BAD_ARGUMENT, f"{file!r}: after the colon come name=value,...")
        own[key.strip()] = value
    return folder / name, own


def load_programs(
    files: Sequence[str], parameters: Mapping[str, str], scope: Scope, folder: Path = Path()
) -> list[bytes]:
    """Return the programs in files. Raises Refused as `program_bytes`."""
    return [program_bytes(file, parameters, scope, folder) for file in files]


def read_call_file(path: Path, scope: Scope) -> tuple[CallFile, Programs]:
    """Return what a call file says, and the programs that it names. Raises Refused(BAD_ARGUMENT, BAD_PROGRAM)."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{path} cannot be read: {error}") from None
    wanted = read_call(text)
    return wanted, Programs(load_programs(wanted.programs, wanted.parameters, scope, path.parent), wanted.run)


# ---- what the node tells


def input_outputs(client: Client, inputs: Sequence[OutPoint]) -> tuple[Spent, ...]:
    """Return unspent outputs by their outpoints. Raises Refused(OUTPUT_NOT_FOUND), and those of the client."""
    return tuple(
        Spent(one, _output_codec.decode(client.ask(GetOutput(txid=one.txid.hex(), index=one.index)).raw))
        for one in inputs
    )


def openings_of(known: Mapping[bytes, Opening]) -> dict[bytes, Opening]:
    """Return openings, each checked: who wrote one down may have erred. Raises Refused(BAD_ARGUMENT)."""
    proofs = default_proofs()
    for commitment, opening in known.items():
        if not proofs.opens(commitment, opening):
            raise Refused(Reason.BAD_ARGUMENT, f"what is told of the commitment {commitment.hex()} does not open it")
    return dict(known)


def surroundings_of(sending: Sending) -> Surroundings:
    """Return what the words of a call file mean for who sends it."""
    client = sending.client

    def outgoing() -> bytes:
        return own_keys(sending.session, sending.entry, sending.password).outgoing

    def receiving(owner: Address) -> bytes:
        if owner == sending.sender:
            return own_keys(sending.session, sending.entry, sending.password).receiving
        return published_key(client, owner)

    return Surroundings(
        chain_point(client).chain_id, sending.address, sending.amount, receiving, outgoing, secrets.token_bytes
    )


def published_key(client: Client, owner: Address) -> bytes:
    """Return the receiving key that an account published. Raises Refused(NOT_AVAILABLE)."""
    parameters = {"address": encode_address(owner)}
    found = client.ask(QueryModule(name="confidential/key", parameters=parameters)).value
    if not found["public_key"]:
        raise Refused(
            Reason.NOT_AVAILABLE, f"{encode_address(owner)} has not published a receiving key, so it would not find "
            "the coin: nexus wallet receive",
        )
    return bytes.fromhex(found["public_key"])


# ---- drafting


def deployment(
    sending: Sending, parts: Sequence[OutputPart], programs: Programs, around: Surroundings, *, hidden: bool
) -> Drafted:
    """Return what drafts the transfer that begins a contract."""
    coins, receiving = _coins(sending, hidden=hidden)
    made = make_outputs(parts, script_address(programs.all), (), {}, around)

    def draft(
        point: ChainPoint, account: Account, fee: int | None, progress: Progress
    ) -> tuple[Draft, Mapping[bytes, Opening]]:
        def least(spent: tuple[Spent, ...], whole: Made) -> int:
            return transfer_fee(point, spent, whole.outputs, [account])

        funded = fund(Funds(account, coins, receiving), (), made, around, fee, least, {})
        drafted = draft_outputs(
            point, funded.spent, funded.made.outputs, funded.made.openings, [account], funded.fee,
            secrets.token_bytes, progress,
        )
        return drafted, made.openings

    return draft


def script_plan(
    sending: Sending, wanted: CallFile, programs: Programs, spent: Sequence[Spent], known: Mapping[bytes, Opening],
    around: Surroundings, *, hidden: bool,
) -> DraftedCall:
    """Return what drafts the transaction of a call file."""
    coins, receiving = _coins(sending, hidden=hidden)
    opened = {**known, **{coin.commitment: coin.opening for coin in coins if coin.commitment}}
    made = make_outputs(wanted.outputs, script_address(programs.all), spent, opened, around)

    def draft(
        point: ChainPoint, signers: Sequence[Account], fee: int | None, progress: Progress
    ) -> tuple[Draft, Mapping[bytes, Opening]]:
        def planned(inputs: tuple[Spent, ...], whole: Made) -> ScriptPlan:
            return _plan(wanted, programs, inputs, whole, opened, around, signers[1:])

        def least(inputs: tuple[Spent, ...], whole: Made) -> int:
            return script_gas(point, planned(inputs, whole), signers) * point.min_gas_price

        funded = fund(Funds(signers[0], coins, receiving), spent, made, around, fee, least, opened)
        plan = planned(funded.spent, funded.made)
        return draft_script(point, plan, signers, funded.fee, secrets.token_bytes, progress), made.openings

    return draft


def _plan(
    wanted: CallFile, programs: Programs, spent: tuple[Spent, ...], made: Made, openings: Mapping[bytes, Opening],
    around: Surroundings, signers: Sequence[Account],
) -> ScriptPlan:
    scope = Scope(around.address, [one.output for one in spent], _commitments(made))
    return ScriptPlan(
        spent, made.outputs, {**openings, **made.openings}, programs.all[programs.run],
        prove_call(programs.all, programs.run), tuple(evaluate(one, scope) for one in wanted.data),
        tuple(account.address for account in signers), wanted.not_before, wanted.not_after, wanted.allocated,
    )


def _commitments(made: Made) -> dict[int, bytes]:
    return {
        place: output.commitment for place, output in enumerate(made.outputs) if hasattr(output, "commitment")
    }


def _coins(sending: Sending, *, hidden: bool) -> tuple[list[Spendable], bytes]:
    """Return the sender's coins to pay with, and where hidden change goes."""
    if not hidden:
        return [clear_coin(one.outpoint, one.coin) for one in coins_of(sending.client, sending.sender)], b""
    keys = own_keys(sending.session, sending.entry, sending.password)
    wallet = own_wallet(sending.session, sending.client, sending.entry, keys)
    index = wallet.load()
    scan(sending.client, sending.sender, index)
    wallet.save(index)
    coins = [Spendable(one.outpoint, one.asset, one.opening, one.commitment) for one in index.unspent()]
    return coins, keys.receiving


# ---- trying


def check_locally(
    client: Client, session: Session, entry: KeyEntry | None, wanted: CallFile, programs: Programs,
    spent: Sequence[Spent], known: Mapping[bytes, Opening], point: ChainPoint,
) -> dict[str, Any]:
    """Run a call's program with everything that is known, and return what it takes.

    Raises:
        Refused: SCRIPT_FAILED, UNPROVEN if it would not hold; BAD_PROGRAM, PROGRAM_TOO_COSTLY, BAD_ARGUMENT.
    """
    store = Keystore(session.home / "keys")

    def address(name: str) -> Address:
        return address_named(store, name)

    around = Surroundings(
        point.chain_id, address, lambda text: amount_of(client, text, entry.address if entry else None),
        lambda owner: published_key(client, owner), lambda: bytes(_ENTROPY), secrets.token_bytes,
    )
    made = make_outputs(wanted.outputs, script_address(programs.all), spent, known, around)
    plan = _plan(wanted, programs, tuple(spent), made, known, around, ())
    named = {*(address(name) for name in wanted.signers), *([entry.address] if entry else [])}
    script = Script(
        tuple(one.outpoint for one in spent), plan.made, plan.program, plan.call, plan.data, tuple(sorted(named)),
        plan.not_before, MAX_INT,
    )
    outputs = tuple(one.output for one in spent)
    expiry = min(point.expiry(), Height(wanted.not_after))
    sight = sight_of(script, outputs, expiry, needed_signers(script, outputs))
    openings = {key: Committed(*opening) for key, opening in plan.openings.items()}
    given = Secrets(openings, iter(plan.allocated))
    proof = prove_program(plan.program, sight, given, bytes(_ENTROPY), secrets.token_bytes(_ENTROPY))
    ran = run_program(plan.program, sight)
    return {
        "holds": True, "multipliers": f"{ran.system.multipliers} of {MAX_MULTIPLIERS}",
        "constraints": len(ran.system.constraints), "work": f"{ran.work} of {MAX_WORK}", "proof": len(proof),
        "gas": program_gas(ran), "from": str(script.not_before), "until": str(expiry),
    }  # fmt: skip
