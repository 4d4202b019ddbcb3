"""The one table of API methods: name, question, answer, REST path. Server, client and OpenAPI all read it.

A question is a struct; its fields are the parameters of the JSON-RPC method, and the path and query parameters (or,
for POST, the JSON body) of the REST path.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from node.api import shapes
from node.api.text import LATEST, AddressText, AssetText, HeightText, Hex32
from state.records import NATIVE_TEXT

R = TypeVar("R")

MAX_SUBMITTED: Final = 1000
"""Transactions in one submission."""
MAX_LISTED: Final = 1000
"""Entries in one list."""
MAX_VERSIONS: Final = 100
"""Versions of a contract in one answer: each is read from its transaction."""
NonceText = Annotated[str, Meta(pattern="^(0|[1-9][0-9]{0,17})$", max_length=18)]
"""A State's nonce in decimal."""
Limit = Annotated[int, Meta(ge=1, le=MAX_LISTED)]
Cursor = Annotated[str, Meta(pattern="^[0-9a-f]{0,160}$", max_length=160)]
"""Where to continue: `next` of the list before, or empty."""


class Ask(msgspec.Struct, Generic[R], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question whose answer is an `R`."""


class GetStatus(Ask[shapes.Status], frozen=True):
    """How the node is doing."""


class GetGenesis(Ask[shapes.GenesisView], frozen=True):
    """The genesis document."""


class GetParams(Ask[shapes.ParamsView], frozen=True):
    """The chain's parameters."""


class GetPeers(Ask[shapes.PeersView], frozen=True):
    """Who the node is connected to."""


class GetMempool(Ask[shapes.MempoolView], frozen=True):
    """What waits for a block, at most `limit` ids."""

    limit: Limit = 100


class GetValidators(Ask[shapes.ValidatorsView], frozen=True):
    """Who votes on a height; without one, on the next."""

    height: HeightText = LATEST


class GetBlock(Ask[shapes.BlockView], frozen=True):
    """A block without bodies."""

    height: HeightText


class GetBody(Ask[shapes.BodyView], frozen=True):
    """The bodies of a block's transactions, and its evidence."""

    height: HeightText


class GetHeader(Ask[shapes.HeaderView], frozen=True):
    """A block header."""

    height: HeightText


class GetHeaders(Ask[shapes.HeadersView], frozen=True):
    """Headers from a height on, at most `limit`, in canonical bytes for a light client."""

    first: HeightText
    limit: Limit = MAX_LISTED


class GetCommit(Ask[shapes.CommitView], frozen=True):
    """The commit for a height."""

    height: HeightText


class GetLightBlock(Ask[shapes.LightBlockView], frozen=True):
    """Header, commit and validators of a height for a light client."""

    height: HeightText


class Submit(Ask[shapes.Submitted], frozen=True):
    """Submit signed transactions. `wait` for acceptance, or until each is in a block (`timeout` in ms)."""

    transactions: Annotated[list[Annotated[bytes, Meta(min_length=1)]], Meta(min_length=1, max_length=MAX_SUBMITTED)]
    wait: Literal["accepted", "committed"] = "accepted"
    timeout: Annotated[int, Meta(ge=1, le=120_000)] = 15_000


class Simulate(Ask[shapes.ReceiptView], frozen=True):
    """What would become of a transaction alone in the next block. Its signatures may be any bytes; it is not kept."""

    transaction: Annotated[bytes, Meta(min_length=1)]


class ReportEvidence(Ask[shapes.Reported], frozen=True):
    """Hand in proof that a validator broke the rules (consensus.types.Evidence, canonical bytes)."""

    evidence: Annotated[bytes, Meta(min_length=1)]


class GetTransaction(Ask[shapes.TransactionView], frozen=True):
    """A transaction, committed or waiting."""

    txid: Hex32


class GetTransactionStatus(Ask[shapes.TransactionStatus], frozen=True):
    """Whether a transaction waits, is in a block, or is not known here."""

    txid: Hex32


class GetReceipt(Ask[shapes.ReceiptAnswer], frozen=True):
    """How a transaction ended, with a proof."""

    txid: Hex32


class GetAccount(Ask[shapes.AccountView], frozen=True):
    """Nonce, key and native balance of an account."""

    address: AddressText


class GetBalance(Ask[shapes.BalanceView], frozen=True):
    """What an account holds of an asset."""

    address: AddressText
    asset: AssetText = NATIVE_TEXT
    height: HeightText = LATEST


class GetAllowance(Ask[shapes.AllowanceView], frozen=True):
    """What a spender may take from an owner."""

    owner: AddressText
    spender: AddressText
    asset: AssetText = NATIVE_TEXT
    height: HeightText = LATEST


class GetLocks(Ask[shapes.LocksView], frozen=True):
    """The locks of an account."""

    address: AddressText


class GetOutputs(Ask[shapes.OutputsView], frozen=True):
    """Unspent outputs of an owner, of one kind if one is named."""

    address: AddressText
    kind: shapes.OutputFilter = "any"
    limit: Limit = 100
    after: Cursor = ""


class GetTransactionsOf(Ask[shapes.TransactionRefs], frozen=True):
    """Transactions that touched an address, newest first."""

    address: AddressText
    limit: Limit = 100
    before: Cursor = ""


class GetAsset(Ask[shapes.AssetView], frozen=True):
    """How an asset was issued, and its supply."""

    asset: AssetText


class GetOutput(Ask[shapes.OutputView], frozen=True):
    """One unspent output."""

    txid: Hex32
    index: shapes.Index32


class GetStateHistory(Ask[shapes.StateHistory], frozen=True):
    """The versions of the contract that a State belongs to, by rising nonce."""

    txid: Hex32
    index: shapes.Index32
    first: NonceText = "0"
    """The lowest nonce wanted: `next` of the list before."""
    limit: Annotated[int, Meta(ge=1, le=MAX_VERSIONS)] = MAX_VERSIONS


class GetProof(Ask[shapes.ProofView], frozen=True):
    """A state proof of a raw record key (hex) after the block at `height`; without one, the last provable height."""

    key: Annotated[str, Meta(pattern="^([0-9a-f]{2}){1,256}$", max_length=512)]
    height: HeightText = LATEST


class QueryModule(Ask[shapes.QueryAnswer], frozen=True):
    """Ask a module by the name of its query, such as token/balance; parameters are text."""

    name: Annotated[str, Meta(min_length=1, max_length=64, extra_json_schema={"examples": ["chain/params"]})]
    parameters: Annotated[dict[str, Annotated[str, Meta(max_length=1024)]], Meta(max_length=32)] = {}
    height: HeightText = LATEST


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table. `path` names the question's fields in braces; the rest are query parameters or body."""

    name: str
    ask: type[Ask[Any]]
    answer: type[Any]
    verb: Literal["GET", "POST"]
    path: str

    @property
    def summary(self) -> str:
        """What it is for: the first line of the question's docstring."""
        return (self.ask.__doc__ or self.name).splitlines()[0]


def _get(name: str, ask: type[Ask[R]], answer: type[R], path: str) -> Method:
    return Method(name, ask, answer, "GET", path)


METHODS: Final = (
    _get("status", GetStatus, shapes.Status, "/v1/status"),
    _get("genesis", GetGenesis, shapes.GenesisView, "/v1/genesis"),
    _get("params", GetParams, shapes.ParamsView, "/v1/params"),
    _get("peers", GetPeers, shapes.PeersView, "/v1/peers"),
    _get("mempool", GetMempool, shapes.MempoolView, "/v1/mempool"),
    _get("validators", GetValidators, shapes.ValidatorsView, "/v1/validators"),
    _get("block", GetBlock, shapes.BlockView, "/v1/blocks/{height}"),
    _get("body", GetBody, shapes.BodyView, "/v1/blocks/{height}/body"),
    _get("header", GetHeader, shapes.HeaderView, "/v1/blocks/{height}/header"),
    _get("headers", GetHeaders, shapes.HeadersView, "/v1/headers/{first}"),
    _get("commit", GetCommit, shapes.CommitView, "/v1/blocks/{height}/commit"),
    _get("light_block", GetLightBlock, shapes.LightBlockView, "/v1/blocks/{height}/light"),
    Method("submit", Submit, shapes.Submitted, "POST", "/v1/transactions"),
    Method("simulate", Simulate, shapes.ReceiptView, "POST", "/v1/simulate"),
    Method("report_evidence", ReportEvidence, shapes.Reported, "POST", "/v1/evidence"),
    _get("transaction", GetTransaction, shapes.TransactionView, "/v1/transactions/{txid}"),
    _get("transaction_status", GetTransactionStatus, shapes.TransactionStatus, "/v1/transactions/{txid}/status"),
    _get("receipt", GetReceipt, shapes.ReceiptAnswer, "/v1/transactions/{txid}/receipt"),
    _get("account", GetAccount, shapes.AccountView, "/v1/accounts/{address}"),
    _get("balance", GetBalance, shapes.BalanceView, "/v1/accounts/{address}/balance"),
    _get("allowance", GetAllowance, shapes.AllowanceView, "/v1/accounts/{owner}/allowances/{spender}"),
    _get("locks", GetLocks, shapes.LocksView, "/v1/accounts/{address}/locks"),
    _get("outputs", GetOutputs, shapes.OutputsView, "/v1/accounts/{address}/outputs"),
    _get("transactions_of", GetTransactionsOf, shapes.TransactionRefs, "/v1/accounts/{address}/transactions"),
    _get("asset", GetAsset, shapes.AssetView, "/v1/assets/{asset}"),
    _get("output", GetOutput, shapes.OutputView, "/v1/outputs/{txid}/{index}"),
    _get("state_history", GetStateHistory, shapes.StateHistory, "/v1/outputs/{txid}/{index}/history"),
    _get("proof", GetProof, shapes.ProofView, "/v1/proofs/{key}"),
    Method("query", QueryModule, shapes.QueryAnswer, "POST", "/v1/query"),
)
BY_NAME: Final = {method.name: method for method in METHODS}
BY_ASK: Final = {method.ask: method for method in METHODS}
