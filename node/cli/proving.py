"""The proofs of space, work and time on the command line: make plots, answer by hand, see what was given."""

from typing import Annotated, Any

import trio
import typer

from apps.proofs.messages import CHALLENGES, NEEDED, Proof, Space, Time
from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.schemes import address_of
from crypto.space import MAX_K, MIN_K
from crypto.vdf import time_challenge
from node.amounts import format_amount
from node.api.methods import GetStatus, QueryModule
from node.cli.accounts import address_named
from node.cli.passwords import PasswordFile, read_password
from node.cli.progress import bar
from node.cli.sending import Sending
from node.cli.session import Session
from node.client import Client
from node.home import Home, open_home
from node.keystore import CONSENSUS_KEY, Keystore, is_sealed, load_node_key
from node.node import load_genesis
from node.proving.plots import Plot, answer_challenges, find_plots, make_plot, plot_of
from node.proving.tasks import run_job
from node.proving.worker import TimeJob
from node.wallet import message
from state.genesis import Genesis, genesis_hash
from state.transaction import Message
from state.types import Address, ChainId


def plot(
    session: Session,
    k: Annotated[int, typer.Option(
        "--k", min=0, max=MAX_K, help="Size: 2**k entries; by default the least that the chain takes.")] = 0,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many plots.")] = 1,
    account: Annotated[str, typer.Option(
        help="Whose: a stored key or nx1...; by default the operator of this home's validator.")] = "",
    password_file: PasswordFile = None,
) -> None:  # fmt: skip
    """Make plots for the proof of space. Those that are there are kept; a stopped one begins anew."""
    home = Home(session.home)
    if account and not home.config.exists():  # a folder of keys alone
        with Client(session.url) as client:
            chain_id, least = _chain_id(client), int(_ask(client, "proofs/params")["space_k"])
        owner = _account(session, account)
    else:
        genesis = load_genesis(open_home(session.home))
        chain_id, least = genesis_hash(genesis), genesis.proofs.space_k
        owner = _account(session, account) if account else own_operator(home, genesis, password_file)
    size = k or least or MIN_K
    plots = [plot_of(home, chain_id, owner, index, size) for index in range(count)]
    for number, one in enumerate(plots, start=1):
        with bar(session, f"plot {number} of {count}, k = {size}") as progress:
            trio.run(make_plot, one, progress)
    if size < least:
        session.note(f"the chain takes plots of k = {least} or more: these do not count")
    session.show([_shown(one) for one in plots])


def _shown(plot: Plot) -> dict[str, Any]:
    return {"file": plot.path.name, "index": plot.index, "k": plot.k, "bytes": str(plot.path.stat().st_size)}


def own_operator(home: Home, genesis: Genesis, password_file: PasswordFile = None) -> Address:
    """Return the operator of the validator whose consensus key is in a home.

    Raises:
        Refused: USAGE if it is no validator of genesis; KEY_NOT_FOUND, WRONG_PASSWORD, BAD_KEY_FILE.
    """
    path = home.keys / f"{CONSENSUS_KEY}.json"
    password = read_password(password_file, "the consensus key") if is_sealed(path) else None
    own = load_node_key(path, password).address
    for validator in genesis.validators:
        if address_of(validator.public_key) == own:
            return validator.operator
    raise Refused(Reason.USAGE, "this home's key is no validator of genesis: name its operator with --account")


def status(session: Session) -> None:
    """Show what the validator of the asked node gave in this epoch and the last ones, and what its power is."""
    with Client(session.url) as client:
        node = client.ask(GetStatus())
        if node.validator is None:
            raise Refused(Reason.NOT_AVAILABLE, "the node has no consensus key")
        given = _ask(client, "proofs/validator", operator=node.validator)
        stake = _ask(client, "staking/validator", operator=given["operator"])
        session.show({
            "validator": node.validator, "operator": given["operator"], "status": stake["status"],
            "bonded": format_amount(int(stake["bonded"])), "voting_power": str(int(node.voting_power)),
            "height": str(int(node.height)), **_proofs(client, given),
        })  # fmt: skip


def _ask(client: Client, name: str, **parameters: str) -> Any:
    return client.ask(QueryModule(name=name, parameters=parameters)).value


def _chain_id(client: Client) -> ChainId:
    return ChainId(bytes.fromhex(client.ask(GetStatus()).chain_id))


def _proofs(client: Client, given: Any) -> dict[str, Any]:
    asked, epoch = _ask(client, "proofs/params"), _ask(client, "proofs/epoch")
    now = int(epoch["number"])
    return {
        "epoch": now,
        "blocks_left": int(epoch["last_block"]) - int(client.ask(GetStatus()).height),
        "beacon": "weak" if epoch["weak"] else "from the delay function",
        "space": _when(int(asked["space_k"]), given["space_epoch"], now),
        "work": _when(int(asked["work_bits"]), given["work_epoch"], now),
        "time": _time(int(asked["vdf_iterations"]), epoch),
        "share_of_stake": f"{given['halves']}/{given['full']}",
        "difficulty": epoch["difficulty"],
    }  # fmt: skip


def _when(asked: int, last: Any, now: int) -> str:
    if not asked:
        return "not asked"
    if last is None:
        return "never given"
    behind = now - int(last)
    return {0: "given in this epoch", 1: "given in the last epoch"}.get(behind, f"last given {behind} epochs ago")


def _time(asked: int, epoch: Any) -> str:
    if not asked:
        return "not asked"
    return "the next beacon is known" if epoch["next_beacon"] else "the delay function runs, or nobody runs it"


def proofs(
    session: Session,
    account: Annotated[str, typer.Argument(metavar="[ACCOUNT]", help="nx1... or the name of a stored key.")] = "",
) -> None:
    """Show which proofs the chain asks for, its epoch and beacon, and what an account gave."""
    with Client(session.url) as client:
        shown = {"asked": _ask(client, "proofs/params"), "epoch": _ask(client, "proofs/epoch")}
        if account:
            who = encode_address(_account(session, account))
            shown["given"] = _ask(client, "proofs/validator", operator=who)
            shown["space"] = _ask(client, "proofs/space", account=who)
        session.show(shown)


def space(
    sending: Sending,
    k: Annotated[int, typer.Option("--k", min=0, help="Size of the plot to use; by default any that counts.")] = 0,
) -> list[Message]:
    """Answer the epoch's challenges from the sender's plot: it gets a space record for this epoch and the next."""
    client = sending.client
    least, epoch = int(_ask(client, "proofs/params")["space_k"]), _ask(client, "proofs/epoch")
    plots = find_plots(Home(sending.session.home), _chain_id(client), sending.sender, max(k, least))
    if not plots:
        raise Refused(
            Reason.BAD_PLOT, f"there is no plot of k = {max(k, least)} here for this account; make one with: "
            f"nexus validator plot --account {sending.entry.name}",
        )
    answer = trio.run(answer_challenges, plots[0], bytes.fromhex(epoch["beacon"]), CHALLENGES, NEEDED)
    proven = tuple(Proof(number, proof) for number, proof in answer.proofs)
    return [message("proofs/space", Space(int(epoch["number"]), plots[0].index, plots[0].k, proven))]


def time(sending: Sending) -> list[Message]:
    """Evaluate the delay function and show its output, from which the next epoch's beacon is made. Anybody may."""
    client = sending.client
    asked, epoch = _ask(client, "proofs/params"), _ask(client, "proofs/epoch")
    if epoch["next_beacon"]:
        raise Refused(Reason.ALREADY_GIVEN, f"the beacon after epoch {epoch['number']} is known")
    number, seed = int(epoch["number"]), bytes.fromhex(epoch["seed"] or client.ask(GetStatus()).block_id)
    job = TimeJob(time_challenge(_chain_id(client), number, seed), int(asked["vdf_bits"]), int(asked["vdf_iterations"]))
    if not job.iterations:
        raise Refused(Reason.NOT_ASKED, "the chain asks for no proof of time")
    result = trio.run(run_job, job)
    return [message("proofs/time", Time(number, result.output, result.proof))]


def _account(session: Session, text: str) -> Address:
    return address_named(Keystore(session.home / "keys"), text)
