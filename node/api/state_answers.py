"""Answers that follow from records of the state alone: one function for each, over whatever reads records.

A node gives its store; a light client gives a reader that knows only records whose proofs it checked. So the very
function that a node answers with also says which records prove the answer.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from apps.chain.records import params as chain_params
from apps.chain.records import validators_at
from apps.registry import answer_query
from crypto.address import decode_address, encode_address
from crypto.errors import Reason, Refused
from node.api import methods, shapes, views
from node.api.text import LATEST, Decimal, asset_from, hash_from
from state import ledger
from state.changes import Reader
from state.genesis import Genesis
from state.records import asset_text
from state.transaction import OutPoint
from state.types import MAX_INT, NATIVE, Address, Height, TxId

NATIVE_SYMBOL: Final = "NXS"
NATIVE_DECIMALS: Final = 6


def address_from(text: str) -> Address:
    """Return the address that an `AddressText` names. Raises Refused(BAD_ADDRESS)."""
    return Address(decode_address(text))


def txid_from(text: str) -> TxId:
    """Return the id that a `Hex32` names. Raises Refused(BAD_ARGUMENT)."""
    return TxId(hash_from(text))


def height_from(text: str) -> Height | None:
    """Return a height, None for the latest. Raises Refused(BAD_ARGUMENT)."""
    if text == LATEST:
        return None
    if not text.isdecimal() or not text.isascii() or int(text) > MAX_INT:
        raise Refused(Reason.BAD_ARGUMENT, f"{text!r} is no height")
    return Height(int(text))


def params(reader: Reader, height: Height, ask: methods.GetParams, genesis: Genesis) -> shapes.ParamsView:
    """Answer `params`."""
    return views.params_view(chain_params(reader), genesis)


def validators(reader: Reader, height: Height, ask: methods.GetValidators, genesis: Genesis) -> shapes.ValidatorsView:
    """Answer `validators`: of the next height, unless one is asked for. Raises Refused(NOT_AVAILABLE)."""
    wanted = height_from(ask.height)
    if wanted is None:
        wanted = Height(height + 1)
    if wanted > height + 2:
        raise Refused(Reason.NOT_AVAILABLE, f"validators are known up to height {height + 2}")
    return views.validators_view(wanted, validators_at(reader, wanted))


def account(reader: Reader, height: Height, ask: methods.GetAccount, genesis: Genesis) -> shapes.AccountView:
    """Answer `account`, as if nothing waited in a mempool."""
    address = address_from(ask.address)
    key = ledger.public_key(reader, address) or b""
    nonce = Decimal(ledger.nonce(reader, address))
    return shapes.AccountView(
        address=encode_address(address), nonce=nonce, pending_nonce=nonce, scheme=views.scheme_name(key),
        public_key=key, balance=Decimal(ledger.balance(reader, address, NATIVE)),
    )


def balance(reader: Reader, height: Height, ask: methods.GetBalance, genesis: Genesis) -> shapes.BalanceView:
    """Answer `balance`."""
    address, asset = address_from(ask.address), asset_from(ask.asset)
    return shapes.BalanceView(
        address=ask.address, asset=ask.asset, amount=Decimal(ledger.balance(reader, address, asset)),
        frozen=ledger.is_frozen(reader, address, asset), height=Decimal(height),
    )


def allowance(reader: Reader, height: Height, ask: methods.GetAllowance, genesis: Genesis) -> shapes.AllowanceView:
    """Answer `allowance`."""
    amount = ledger.allowance(reader, address_from(ask.owner), address_from(ask.spender), asset_from(ask.asset))
    return shapes.AllowanceView(
        owner=ask.owner, spender=ask.spender, asset=ask.asset, amount=Decimal(amount), height=Decimal(height)
    )


def locks(reader: Reader, height: Height, ask: methods.GetLocks, genesis: Genesis) -> shapes.LocksView:
    """Answer `locks`."""
    address = address_from(ask.address)
    held = [(identity, ledger.lock(reader, address, identity)) for identity in ledger.lock_ids(reader, address)]
    return shapes.LocksView(
        address=ask.address, height=Decimal(height),
        locks=[views.lock_view(identity, lock) for identity, lock in held if lock is not None],
    )


def asset(reader: Reader, height: Height, ask: methods.GetAsset, genesis: Genesis) -> shapes.AssetView:
    """Answer `asset`. Raises Refused(UNKNOWN_ASSET)."""
    identity = asset_from(ask.asset)
    supply = Decimal(ledger.supply(reader, identity))
    if identity == NATIVE:
        return shapes.AssetView(
            asset=asset_text(NATIVE), symbol=NATIVE_SYMBOL, decimals=NATIVE_DECIMALS, issuer=None, mintable=False,
            burnable=False, freezable=False, supply=supply,
        )
    found = ledger.asset(reader, identity)
    if found is None:
        raise Refused(Reason.UNKNOWN_ASSET, f"there is no asset {ask.asset}")
    return shapes.AssetView(
        asset=ask.asset, symbol=found.symbol, decimals=found.decimals, issuer=encode_address(found.issuer),
        mintable=found.mintable, burnable=found.burnable, freezable=found.freezable, supply=supply,
    )


def output(reader: Reader, height: Height, ask: methods.GetOutput, genesis: Genesis) -> shapes.OutputView:
    """Answer `output`. Raises Refused(OUTPUT_NOT_FOUND)."""
    outpoint = OutPoint(txid_from(ask.txid), ask.index)
    found = ledger.output(reader, outpoint)
    if found is None:
        raise Refused(Reason.OUTPUT_NOT_FOUND, f"there is no unspent output {ask.txid}:{ask.index}")
    return views.output_view(outpoint, found)


def query(reader: Reader, height: Height, ask: methods.QueryModule, genesis: Genesis) -> shapes.QueryAnswer:
    """Answer `query`."""
    value = answer_query(reader, ask.name, ask.parameters)
    return shapes.QueryAnswer(name=ask.name, height=Decimal(height), value=views.json_text(value))


StateAnswer = Callable[[Reader, Height, Any, Genesis], Any]
"""Given the state after a block, that block's height, the question and the genesis, returns the answer."""

_FUNCTIONS: Final[tuple[StateAnswer, ...]] = (
    params, validators, account, balance, allowance, locks, asset, output, query,
)
STATE_ANSWERS: Final[Mapping[str, StateAnswer]] = {function.__name__: function for function in _FUNCTIONS}
"""By the name of the API method. What is here has a form that carries proofs."""
