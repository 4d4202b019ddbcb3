"""One function for each API method: question in, answer out, over the node's service."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import trio

from crypto.address import decode_address, encode_address
from crypto.errors import Reason, Refused
from node.api import methods, shapes, views
from node.api.text import LATEST, Decimal, asset_from, hash_from
from node.service import NodeService
from state import ledger
from state.columns import Location
from state.encoding import encode
from state.genesis_json import genesis_to_json
from state.records import asset_text
from state.transaction import OutPoint, decode_transaction
from state.types import MAX_INT, NATIVE, Address, Height, TxId

NATIVE_SYMBOL: Final = "NXS"
NATIVE_DECIMALS: Final = 6


def _address(text: str) -> Address:
    return Address(decode_address(text))


def _txid(text: str) -> TxId:
    return TxId(hash_from(text))


def _height(text: str) -> Height | None:
    """Return a height, None for the latest."""
    if text == LATEST:
        return None
    if not text.isdecimal() or not text.isascii() or int(text) > MAX_INT:
        raise Refused(Reason.BAD_ARGUMENT, f"{text!r} is no height")
    return Height(int(text))


def _block_height(service: NodeService, text: str) -> Height:
    height = _height(text)
    return service.height if height is None else height


def status(service: NodeService, ask: methods.GetStatus) -> shapes.Status:
    """Answer `status`."""
    now = service.status()
    validators = service.validators(Height(now.height + 1))
    index = None if now.validator is None else validators.index_of(now.validator)
    return views.status_view(now, 0 if index is None else validators.validators[index].power)


def genesis(service: NodeService, ask: methods.GetGenesis) -> shapes.GenesisView:
    """Answer `genesis`."""
    document = msgspec.json.decode(genesis_to_json(service.genesis))
    return shapes.GenesisView(chain_id=service.chain_id.hex(), document=document, raw=encode(service.genesis))


def params(service: NodeService, ask: methods.GetParams) -> shapes.ParamsView:
    """Answer `params`."""
    return views.params_view(service.chain.view.params, service.genesis)


def peers(service: NodeService, ask: methods.GetPeers) -> shapes.PeersView:
    """Answer `peers`."""
    return shapes.PeersView(peers=[views.peer_view(peer) for peer in service.peers()])


def mempool(service: NodeService, ask: methods.GetMempool) -> shapes.MempoolView:
    """Answer `mempool`."""
    now = service.status()
    return shapes.MempoolView(
        transactions=now.mempool_transactions, bytes=Decimal(now.mempool_bytes),
        txids=[txid.hex() for txid in service.pending(ask.limit)],
    )


def validators(service: NodeService, ask: methods.GetValidators) -> shapes.ValidatorsView:
    """Answer `validators`."""
    wanted = _height(ask.height)
    height = Height(service.height + 1) if wanted is None else wanted
    return views.validators_view(height, service.validators(height))


def block(service: NodeService, ask: methods.GetBlock) -> shapes.BlockView:
    """Answer `block`."""
    height = _block_height(service, ask.height)
    found = service.block(height).block
    commit = service.commit(height)
    receipts = service.chain.store.receipts(height)
    return shapes.BlockView(
        header=views.header_view(found.header),
        transactions=[
            shapes.TransactionId(txid=receipt.txid.hex(), wtxid=receipt.wtxid.hex()) for receipt in receipts
        ],
        size=Decimal(sum(map(len, found.transactions))), evidence=len(found.evidence),
        commit=views.commit_view(commit),
    )


def header(service: NodeService, ask: methods.GetHeader) -> shapes.HeaderView:
    """Answer `header`."""
    return views.header_view(service.header(_block_height(service, ask.height)))


def commit(service: NodeService, ask: methods.GetCommit) -> shapes.CommitView:
    """Answer `commit`."""
    return views.commit_view(service.commit(_block_height(service, ask.height)))


def light_block(service: NodeService, ask: methods.GetLightBlock) -> shapes.LightBlockView:
    """Answer `light_block`."""
    height = _block_height(service, ask.height)
    return shapes.LightBlockView(height=Decimal(height), light_block=encode(service.light_block(height)))


async def submit(service: NodeService, ask: methods.Submit) -> shapes.Submitted:
    """Answer `submit`: accept, and wait for the block if asked to."""
    outcomes = await service.submit_many(ask.transactions)
    results = [_submission(raw, outcome) for raw, outcome in zip(ask.transactions, outcomes, strict=True)]
    if ask.wait == "committed":
        deadline = trio.current_time() + ask.timeout / 1000
        results = [await _settled(service, result, deadline) for result in results]
    return shapes.Submitted(results=results)


def _submission(raw: bytes, outcome: TxId | Refused) -> shapes.Submission:
    if not isinstance(outcome, Refused):
        return shapes.Submission(txid=outcome.hex(), reason="", detail="")
    try:
        txid = decode_transaction(raw).txid.hex()
    except Refused:
        txid = ""
    return shapes.Submission(txid=txid, reason=outcome.reason.value, detail=outcome.detail)


async def _settled(service: NodeService, result: shapes.Submission, deadline: float) -> shapes.Submission:
    """Wait for one transaction. The waits run one after the other to one deadline: all end when the last does."""
    waits = result.reason in ("", Reason.ALREADY_KNOWN.value, Reason.ALREADY_COMMITTED.value)
    if not waits:
        return result
    try:
        receipt = await service.wait_committed(_txid(result.txid), max(0.0, deadline - trio.current_time()))
    except Refused as refused:
        return shapes.Submission(txid=result.txid, reason=refused.reason.value, detail=refused.detail)
    return shapes.Submission(txid=result.txid, reason="", detail="", receipt=views.receipt_view(receipt))


def transaction(service: NodeService, ask: methods.GetTransaction) -> shapes.TransactionView:
    """Answer `transaction`."""
    found = service.transaction(_txid(ask.txid))
    place = None if found.location is None else (found.location.height, found.location.index)
    return views.transaction_view(decode_transaction(found.raw), place)


def receipt(service: NodeService, ask: methods.GetReceipt) -> shapes.ReceiptAnswer:
    """Answer `receipt`."""
    return views.receipt_answer(service.proven_receipt(_txid(ask.txid)))


def account(service: NodeService, ask: methods.GetAccount) -> shapes.AccountView:
    """Answer `account`."""
    address = _address(ask.address)
    key = ledger.public_key(service.reader(), address) or b""
    return shapes.AccountView(
        address=encode_address(address), nonce=Decimal(service.nonce(address)),
        pending_nonce=Decimal(service.next_nonce(address)), scheme=views.scheme_name(key), public_key=key,
        balance=Decimal(service.balance(address, NATIVE)),
    )


def balance(service: NodeService, ask: methods.GetBalance) -> shapes.BalanceView:
    """Answer `balance`."""
    address, asset, height = _address(ask.address), asset_from(ask.asset), _height(ask.height)
    reader = service.reader(height)
    return shapes.BalanceView(
        address=ask.address, asset=ask.asset, amount=Decimal(ledger.balance(reader, address, asset)),
        frozen=ledger.is_frozen(reader, address, asset), height=Decimal(service.height if height is None else height),
    )


def allowance(service: NodeService, ask: methods.GetAllowance) -> shapes.AllowanceView:
    """Answer `allowance`."""
    owner, spender, asset = _address(ask.owner), _address(ask.spender), asset_from(ask.asset)
    height = _height(ask.height)
    amount = ledger.allowance(service.reader(height), owner, spender, asset)
    return shapes.AllowanceView(
        owner=ask.owner, spender=ask.spender, asset=ask.asset, amount=Decimal(amount),
        height=Decimal(service.height if height is None else height),
    )


def locks(service: NodeService, ask: methods.GetLocks) -> shapes.LocksView:
    """Answer `locks`."""
    address, reader = _address(ask.address), service.reader()
    held = [(identity, ledger.lock(reader, address, identity)) for identity in ledger.lock_ids(reader, address)]
    return shapes.LocksView(
        address=ask.address, height=Decimal(service.height),
        locks=[views.lock_view(identity, lock) for identity, lock in held if lock is not None],
    )


def outputs(service: NodeService, ask: methods.GetOutputs) -> shapes.OutputsView:
    """Answer `outputs`."""
    after = None
    if ask.after:
        if len(ask.after) != 72:
            raise Refused(Reason.BAD_ARGUMENT, "`after` is the `next` of the list before")
        after = OutPoint(_txid(ask.after[:64]), int(ask.after[64:], 16))
    found = service.outputs_of(_address(ask.address), ask.limit, after)
    last = found[-1][0] if len(found) == ask.limit else None
    return shapes.OutputsView(
        outputs=[views.output_view(outpoint, output) for outpoint, output in found], height=Decimal(service.height),
        next=None if last is None else f"{last.txid.hex()}{last.index:08x}",
    )


def transactions_of(service: NodeService, ask: methods.GetTransactionsOf) -> shapes.TransactionRefs:
    """Answer `transactions_of`."""
    before = None
    if ask.before:
        if len(ask.before) != 24 or int(ask.before[:16], 16) > MAX_INT:
            raise Refused(Reason.BAD_ARGUMENT, "`before` is the `next` of the list before")
        before = Location(Height(int(ask.before[:16], 16)), int(ask.before[16:], 16))
    found = service.transactions_of(_address(ask.address), ask.limit, before)
    last = found[-1] if len(found) == ask.limit else None
    return shapes.TransactionRefs(
        transactions=[
            shapes.TransactionRef(txid=one.txid.hex(), height=Decimal(one.height), index=one.index) for one in found
        ],
        next=None if last is None else f"{last.height:016x}{last.index:08x}",
    )


def asset(service: NodeService, ask: methods.GetAsset) -> shapes.AssetView:
    """Answer `asset`."""
    identity, reader = asset_from(ask.asset), service.reader()
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


def output(service: NodeService, ask: methods.GetOutput) -> shapes.OutputView:
    """Answer `output`."""
    outpoint = OutPoint(_txid(ask.txid), ask.index)
    found = ledger.output(service.reader(), outpoint)
    if found is None:
        raise Refused(Reason.OUTPUT_NOT_FOUND, f"there is no unspent output {ask.txid}:{ask.index}")
    return views.output_view(outpoint, found)


def proof(service: NodeService, ask: methods.GetProof) -> shapes.ProofView:
    """Answer `proof`."""
    height, made = service.prove(bytes.fromhex(ask.key), _height(ask.height))
    return shapes.ProofView(height=Decimal(height), key=ask.key, proof=encode(made))


def query(service: NodeService, ask: methods.QueryModule) -> shapes.QueryAnswer:
    """Answer `query`."""
    height = _height(ask.height)
    value = service.query(ask.name, ask.parameters, height)
    return shapes.QueryAnswer(
        name=ask.name, height=Decimal(service.height if height is None else height), value=views.json_text(value)
    )


Answer = Callable[[NodeService, Any], Any]

_SYNCHRONOUS: Final[tuple[Answer, ...]] = (
    status, genesis, params, peers, mempool, validators, block, header, commit, light_block, transaction, receipt,
    account, balance, allowance, locks, outputs, transactions_of, asset, output, proof, query,
)
ANSWERS: Final[dict[str, Answer]] = {function.__name__: function for function in _SYNCHRONOUS}


async def answer(service: NodeService, method: methods.Method, ask: Any) -> Any:
    """Return the answer to a question. Raises Refused."""
    if isinstance(ask, methods.Submit):
        return await submit(service, ask)
    return ANSWERS[method.name](service, ask)
