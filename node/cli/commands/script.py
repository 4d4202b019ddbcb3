"""Write, deploy and run programs that guard Memos and States over hidden amounts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from crypto.confidential import Opening
from crypto.errors import Reason, Refused
from node.cli.accounts import account_of, address_named, chain_point
from node.cli.contracts import (
    Programs,
    check_locally,
    deployment,
    input_outputs,
    load_programs,
    openings_of,
    program_bytes,
    read_call_file,
    script_plan,
    surroundings_of,
)
from node.cli.openings import FILE as OPENINGS
from node.cli.openings import keep_openings, read_openings
from node.cli.sending import Plan, Sending, transaction
from node.cli.session import Session, command
from node.client import Client
from node.hidden.callfile import OutputPart, read_outpoint
from node.hidden.expressions import Scope
from node.home import write_file
from node.keystore import Keystore
from node.wallet import Account, ChainPoint, Draft, Progress
from state.transaction import held
from state.types import MAX_INT, Height
from state.zkvm.assembly import disassemble_program
from state.zkvm.instructions import decode_program
from state.zkvm.scripts import script_address

app = typer.Typer(no_args_is_help=True)

_READABLE: Final = 0o644
Files = Annotated[list[str], typer.Argument(
    help="The script's programs in order: assembler text or hex; FILE:name=value,... for a program's own parameters.")]
Params = Annotated[list[str] | None, typer.Option("--param", help='name=value: 25, 900u64, 0x1f, "text", @name.')]
More = Annotated[list[Path] | None, typer.Option("--openings", help="Further openings, from another party.")]
Hidden = Annotated[bool, typer.Option("--hidden", help="Pay from hidden coins, and get hidden change.")]


@command(app)
def compile(
    session: Session, file: Annotated[str, typer.Argument(help="Assembler text.")], param: Params = None,
    out: Annotated[Path | None, typer.Option(help="Write the hex here.")] = None,
) -> None:
    """Turn a program's text into bytes."""
    program = program_bytes(file, _parameters(session, param), _scope(session))
    if out is not None:
        write_file(out, program.hex().encode() + b"\n", _READABLE)
    shown = {"bytes": len(program), "instructions": len(decode_program(program))}
    session.show({**shown, **({"program": program.hex()} if out is None else {"file": str(out)})})


@command(app)
def show(session: Session, program: Annotated[str, typer.Argument(help="Hex, or a file.")]) -> None:
    """Turn a program's bytes into text."""
    try:
        raw = bytes.fromhex(program.removeprefix("0x"))
    except ValueError:
        raw = program_bytes(program, {}, _scope(session))
    text = disassemble_program(raw)
    session.show(f"# {len(raw)} bytes, {len(decode_program(raw))} instructions\n{text}".rstrip())


@command(app)
def address(session: Session, files: Files, param: Params = None) -> None:
    """Show the address of a script: these programs, in this order."""
    programs = load_programs(files, _parameters(session, param), _scope(session))
    session.show({
        "address": script_address(programs).hex(),
        "programs": [
            {"number": place, "file": file, "bytes": len(program)}
            for place, (file, program) in enumerate(zip(files, programs, strict=True))
        ],
    })  # fmt: skip


@transaction(app)
def deploy(
    sending: Sending,
    kind: Annotated[str, typer.Argument(help="memo or state")],
    files: Files,
    amount: Annotated[str, typer.Option(help="What it holds: 7nxs; by default nothing.")] = "",
    data: Annotated[str, typer.Option(help="Of a Memo: @seller + @buyer + 900u64.")] = "0x",
    variable: Annotated[list[str] | None, typer.Option(help="Of a State; once for each.")] = None,
    owner: Annotated[str, typer.Option(help="By default the sender.")] = "",
    not_before: Annotated[int, typer.Option(min=0, help="First height at which it may be spent.")] = 0,
    not_after: Annotated[int, typer.Option(min=0, help="The last one.")] = MAX_INT,
    param: Params = None, hidden: Hidden = False,
) -> Plan:
    """Put money under a script: a Memo or a State, whose amount only its openings tell."""
    if kind not in ("memo", "state"):
        raise Refused(Reason.USAGE, f"{kind!r} is neither memo nor state")
    session = sending.session
    programs = Programs(load_programs(files, _parameters(session, param), _scope(session)), 0)
    part = OutputPart(
        kind, owner or sending.entry.name, amount, data=data, variables=tuple(variable or ()),
        not_before=Height(not_before), not_after=Height(not_after),
    )
    around = surroundings_of(sending)
    drafted = deployment(sending, [part], programs, around, hidden=hidden)

    def plan(
        point: ChainPoint, account: Account, fee: int | None, sponsor: Account | None, progress: Progress
    ) -> Draft:
        _no_sponsor(sponsor)
        draft, openings = drafted(point, account, fee, progress)
        keep_openings(session.home / OPENINGS, openings)
        return draft

    return plan


@transaction(app)
def call(
    sending: Sending, file: Annotated[Path, typer.Argument(help="What to do: a call file in TOML.")],
    hidden: Hidden = False, openings: More = None,
) -> Plan:
    """Run a program on chain: plan, prove, sign, send."""
    session = sending.session
    wanted, programs = read_call_file(file, _scope(session))
    spent = input_outputs(sending.client, wanted.inputs)
    known = _known(session, openings)
    around = surroundings_of(sending)
    store = Keystore(session.home / "keys")
    others = [account_of(sending.client, store.entry(name))[0] for name in wanted.signers]

    def plan(
        point: ChainPoint, account: Account, fee: int | None, sponsor: Account | None, progress: Progress
    ) -> Draft:
        _no_sponsor(sponsor)
        drafted = script_plan(sending, wanted, programs, spent, known, around, hidden=hidden)
        signers = [account, *(other for other in others if other.address != account.address)]
        draft, made = drafted(point, signers, fee, progress)
        keep_openings(session.home / OPENINGS, made)
        return draft

    return plan


@command(app)
def run(
    session: Session, file: Annotated[Path, typer.Argument(help="A call file.")],
    sender: Annotated[str, typer.Option("--from", envvar="NEXUS_FROM", help="Who would send it.")] = "",
    openings: More = None,
) -> None:
    """Try a call here, without sending it: whether it would hold, and what it costs. The fee's coin is left out."""
    wanted, programs = read_call_file(file, _scope(session))
    with Client(session.url) as client:
        entry = Keystore(session.home / "keys").entry(sender) if sender else None
        ran = check_locally(
            client, session, entry, wanted, programs, input_outputs(client, wanted.inputs), _known(session, openings),
            chain_point(client),
        )
    session.show(ran)


@command(app)
def share(
    session: Session, outpoint: Annotated[str, typer.Argument(help="TXID:INDEX of a Memo or a State.")],
    out: Annotated[Path, typer.Option(help="Where to write what opens it.")],
) -> None:
    """Write down what opens one commitment, for another party: who has it sees the amount."""
    with Client(session.url) as client:
        [spent] = input_outputs(client, (read_outpoint(outpoint),))
    hidden = held(spent.output)
    known = read_openings(session.home / OPENINGS)
    if hidden is None or hidden.commitment not in known:
        raise Refused(Reason.NOT_AVAILABLE, f"{session.home / OPENINGS} does not tell what it holds")
    keep_openings(out, {hidden.commitment: known[hidden.commitment]})
    session.show({"file": str(out), "amount": str(known[hidden.commitment].amount)})


def _known(session: Session, further: Sequence[Path] | None) -> dict[bytes, Opening]:
    known = read_openings(session.home / OPENINGS)
    for path in further or ():
        if not path.exists():
            raise Refused(Reason.BAD_ARGUMENT, f"there is no file {path}")
        known |= read_openings(path)
    return openings_of(known)


def _scope(session: Session) -> Scope:
    store = Keystore(session.home / "keys")
    return Scope(lambda name: address_named(store, name))


def _parameters(session: Session, given: Sequence[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given or ():
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise Refused(Reason.USAGE, f"{text!r} is no name=value")
        found[name] = value
    return found


def _no_sponsor(sponsor: Any) -> None:
    if sponsor is not None:
        raise Refused(Reason.USAGE, "scripts are called without a sponsor")
