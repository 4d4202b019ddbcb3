"""From what a person names (a key, an address, an amount) to what the wallet needs, with the node's help."""

from crypto.address import decode_address, encode_address
from crypto.errors import Reason, Refused
from node.amounts import NATIVE_DECIMALS, NATIVE_SYMBOL, asset_of, format_amount, parse_quantity, to_smallest
from node.api.methods import GetAccount, GetAsset, GetOutputs, GetParams, GetStatus
from node.api.shapes import AssetView
from node.client import Client
from node.keystore import KeyEntry, Keystore
from node.wallet import Account, ChainPoint, OwnCoin
from state.encoding import Codec
from state.records import NATIVE_TEXT, asset_text
from state.transaction import Coin, OutPoint, Output
from state.types import NATIVE, Address, Amount, AssetId, BlockId, ChainId, Height, TxId
from state.version import SUPPORTED_VERSIONS, check_known

MAX_PAGES = 64
"""Lists of own outputs that are read at most; each has up to 1,000."""
_PAGE = 1000
_output_codec: Codec[Output] = Codec(Output)  # type: ignore[arg-type]


def chain_point(client: Client) -> ChainPoint:
    """Return what a new transaction must know of the chain, from the node's last block.

    Raises:
        Refused: WRONG_VERSION if the chain is of a protocol version that this program does not know.
    """
    status, params = client.ask(GetStatus()), client.ask(GetParams()).chain
    check_known(status.protocol_version, SUPPORTED_VERSIONS, "the chain")
    return ChainPoint(
        ChainId(bytes.fromhex(status.chain_id)), BlockId(bytes.fromhex(status.block_id)),
        Height(int(status.height)),
        min_gas_price=params["min_gas_price"], difficulty=status.difficulty, expiry_window=params["expiry_window"],
        version=status.protocol_version,
    )


def address_named(store: Keystore, text: str) -> Address:
    """Return the address of `nx1...` or of a stored key. Raises Refused(BAD_ADDRESS | KEY_NOT_FOUND | BAD_ARGUMENT)."""
    if text.startswith("nx1"):
        return Address(decode_address(text))
    return store.entry(text).address


def account_of(client: Client, entry: KeyEntry) -> tuple[Account, int]:
    """Return a stored key's account as the chain knows it, and the nonce of its next call.

    Raises:
        Refused: BAD_KEY if the chain knows another key for the account: it was rotated elsewhere.
    """
    view = client.ask(GetAccount(address=encode_address(entry.address)))
    if view.public_key and view.public_key != entry.public_key:
        raise Refused(Reason.BAD_KEY, f"the account of {entry.name!r} has another key on chain; import that one")
    return Account(entry.address, entry.public_key, registered=bool(view.public_key)), int(view.pending_nonce)


def coins_of(client: Client, owner: Address) -> list[OwnCoin]:
    """Return an owner's coins."""
    found: list[OwnCoin] = []
    after = ""
    for _ in range(MAX_PAGES):
        page = client.ask(GetOutputs(address=encode_address(owner), limit=_PAGE, after=after))
        for one in page.outputs:
            output = _output_codec.decode(one.raw)
            if isinstance(output, Coin):
                found.append(OwnCoin(OutPoint(TxId(bytes.fromhex(one.txid)), one.index), output))
        if page.next is None:
            break
        after = page.next
    return found


def asset_view(client: Client, asset: AssetId) -> AssetView:
    """Return how an asset was issued. Raises Refused(UNKNOWN_ASSET)."""
    return client.ask(GetAsset(asset=asset_text(asset)))


def amount_of(client: Client, text: str, issuer: Address | None, least: int = 1) -> tuple[AssetId, Amount]:
    """Return asset and amount of `1.5nxs`, `25gold` or `25gold@nx1...`.

    Raises:
        Refused: BAD_ARGUMENT, UNKNOWN_ASSET, AMOUNT_OUT_OF_RANGE.
    """
    quantity = parse_quantity(text)
    asset = asset_of(quantity.unit, issuer)
    decimals = NATIVE_DECIMALS if asset == NATIVE else asset_view(client, asset).decimals
    return asset, to_smallest(quantity, decimals, least)


def native_amount(text: str, least: int = 1) -> Amount:
    """Return an amount such as `0.01nxs`, where no other asset can stand, in unxs.

    Raises:
        Refused: BAD_ARGUMENT, AMOUNT_OUT_OF_RANGE.
    """
    quantity = parse_quantity(text)
    if quantity.unit not in (NATIVE_SYMBOL, NATIVE_TEXT):
        raise Refused(Reason.BAD_ARGUMENT, f"{text!r} is not in nxs or unxs, and no other asset can stand here")
    return to_smallest(quantity, NATIVE_DECIMALS, least)


def shown_amount(client: Client, asset: AssetId, amount: int) -> str:
    """Return an amount for people, with its symbol."""
    if asset == NATIVE:
        return format_amount(amount)
    view = asset_view(client, asset)
    return format_amount(amount, view.decimals, view.symbol)


