"""Hands the last-sign state from machine to machine, so that at any time one of them signs."""

from pathlib import Path

from msgspec.structs import replace

from crypto.errors import Reason, Refused
from node.home import Home, write_file
from node.last_sign import SignState, check_owner, decode_state, encode_state, new_state, sign_document
from state.leveldb import LevelDB
from state.types import Address, ChainId


def check_stopped(home: Home) -> None:
    """Make sure that no node runs on a home. Raises Refused(HOME_IN_USE | CORRUPT_DATABASE)."""
    if home.chain.exists():
        LevelDB.open(home.chain).close()


def check_present(home: Home) -> None:
    """Make sure that it is known what the consensus key of a home signed.

    The file is made with the key. A key without it was copied, or made from its words: another machine may have it.

    Raises:
        Refused: BAD_SIGN_STATE.
    """
    if not home.sign_state.exists():
        raise Refused(Reason.BAD_SIGN_STATE, "this home has a consensus key, but not what that key signed last")


def read_state(home: Home) -> SignState:
    """Return what a home's consensus key signed last. Raises Refused(BAD_SIGN_STATE)."""
    raw = sign_document(home.sign_state).read()
    if not raw:
        raise Refused(Reason.BAD_SIGN_STATE, f"{home.sign_state} is missing: this node has signed nothing")
    return decode_state(raw)


def begin_state(home: Home, key: Address, chain_id: ChainId) -> None:
    """Write the state of a key that was made just now: it has signed nothing, and no other machine has it."""
    sign_document(home.sign_state).replace(encode_state(new_state(key, chain_id)))


def export_state(home: Home, target: Path) -> SignState:
    """Write the state to a file for another machine; from then on this home refuses to sign.

    The home is marked before the file is written: a crash in between leaves nobody who signs, never two.

    Raises:
        Refused: HOME_IN_USE, BAD_SIGN_STATE, BAD_ARGUMENT if there is a file already or it cannot be written.
    """
    check_stopped(home)
    if target.exists():
        raise Refused(Reason.BAD_ARGUMENT, f"{target} exists already")
    state = replace(read_state(home), exported=False)
    sign_document(home.sign_state).replace(encode_state(replace(state, exported=True)))
    try:
        write_file(target, encode_state(state))
    except OSError as error:
        raise Refused(Reason.BAD_ARGUMENT, f"{target} cannot be written: {error.strerror}") from None
    return state


def import_state(home: Home, source: Path, key: Address, chain_id: ChainId) -> SignState:
    """Take over an exported state: from then on this home signs.

    Args:
        home: of a node that does not run.
        source: what `export_state` wrote.
        key: address of the home's consensus key.
        chain_id: of its chain.

    Raises:
        Refused: HOME_IN_USE; BAD_SIGN_STATE if the file is damaged or of another key or chain; DOUBLE_SIGN if this
            home signed later than the file says.
    """
    check_stopped(home)
    raw = sign_document(source).read()
    if not raw:
        raise Refused(Reason.BAD_SIGN_STATE, f"{source} is missing or empty")
    state = decode_state(raw)
    check_owner(state, key, chain_id)
    _check_rises(home, state)
    state = replace(state, exported=False)
    sign_document(home.sign_state).replace(encode_state(state))
    return state


def set_state(home: Home, passed: int, key: Address, chain_id: ChainId) -> SignState:
    """Begin a new state that signs nothing up to a height: for an operator who lost the file.

    Raises:
        Refused: HOME_IN_USE; DOUBLE_SIGN if this home signed at a later height.
    """
    check_stopped(home)
    state = new_state(key, chain_id, passed)
    _check_rises(home, state)
    sign_document(home.sign_state).replace(encode_state(state))
    return state


def _check_rises(home: Home, state: SignState) -> None:
    """Compare with the state of the home; a missing or damaged one, or one of another key, says nothing."""
    try:
        own = read_state(home)
    except Refused:
        return
    if (own.key, own.chain_id) == (state.key, state.chain_id) and own.place > state.place:
        raise Refused(
            Reason.DOUBLE_SIGN, f"this home signed at height {own.height}, round {own.round}, which is later than "
            f"height {state.height}, round {state.round}",
        )
