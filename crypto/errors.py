"""The one error of this code base, and the one list of reasons for it.

Every refusal, from a malformed byte to an unknown command-line key, is `Refused(Reason.X, detail)`.
Tests assert the reason and never the text. `Reason.permanent` tells whether the same bytes can ever be
accepted: a peer that sends permanently wrong bytes is punished, a temporary refusal is tried again later.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why something was refused. The value is stable: it appears in receipts, in the API and in logs."""

    # encoding
    MALFORMED = "malformed"
    """The bytes are no value of the expected type."""
    NOT_CANONICAL = "not_canonical"
    """The bytes decode, but encode back to other bytes."""
    TOO_LARGE = "too_large"
    """A size or a count is over its cap."""

    # keys and signatures
    BAD_SIGNATURE = "bad_signature"
    """A signature does not verify."""
    BAD_KEY = "bad_key"
    """Bytes that are no key of a known scheme, or not the key of this address."""
    UNKNOWN_KEY = "unknown_key"
    """The signer's public key is neither on chain nor in the witness."""
    MISSING_SIGNATURE = "missing_signature"
    """A needed signer has no witness."""
    SURPLUS_SIGNATURE = "surplus_signature"
    """A witness of somebody whose signature is not needed, or out of order."""
    BAD_ADDRESS = "bad_address"
    """The text is no bech32m address of this network."""
    BAD_PHRASE = "bad_phrase"
    """The words are no BIP-39 phrase."""
    WRONG_PASSWORD = "wrong_password"
    """The key file does not open with this password."""
    BAD_KEY_FILE = "bad_key_file"
    """The key file is damaged or of another format."""
    KEY_EXISTS = "key_exists"
    """A key of this name is already stored."""
    KEY_NOT_FOUND = "key_not_found"
    """No key of this name is stored."""
    CANNOT_OPEN = "cannot_open"
    """A sealed payload does not open with this key and context."""
    BAD_PROOF = "bad_proof"
    """A Merkle or state proof does not lead to the expected root."""
    BAD_POINT = "bad_point"
    """Bytes that are no group element, or the identity where a proof needs another."""
    BAD_SCALAR = "bad_scalar"
    """Bytes that are no scalar in its one form."""
    UNPROVEN = "unproven"
    """A zero-knowledge proof does not hold for what it is said to prove."""

    # transactions: a block that holds one of these is invalid
    WRONG_CHAIN = "wrong_chain"
    """Made for another chain."""
    WRONG_VERSION = "wrong_version"
    """Of a protocol version that is not in force."""
    SCRIPT_NOT_SUPPORTED = "script_not_supported"
    """Script transactions do not exist yet."""
    UNKNOWN_ANCHOR = "unknown_anchor"
    """The anchor is none of the recent block ids."""
    EXPIRED = "expired"
    """The expiry height has passed."""
    EXPIRY_TOO_FAR = "expiry_too_far"
    """The expiry height is further ahead than the chain allows."""
    INSUFFICIENT_WORK = "insufficient_work"
    """The hashcash does not reach the difficulty."""
    MISSING_WHERE = "missing_where"
    """Neither the payer nor the sponsor has a space record of this epoch or the last."""
    NONCE_TOO_LOW = "nonce_too_low"
    """The nonce was used before: a replay."""
    NONCE_TOO_HIGH = "nonce_too_high"
    """A transaction with a lower nonce is missing."""
    FEE_TOO_LOW = "fee_too_low"
    """The fee is below gas times the least gas price."""
    INSUFFICIENT_FEE_FUNDS = "insufficient_fee_funds"
    """The payer cannot pay the fee."""
    DUPLICATE_INPUT = "duplicate_input"
    """One output is spent twice in one transaction."""
    OUTPUT_NOT_FOUND = "output_not_found"
    """The output does not exist or is already spent."""
    NOT_OWNER = "not_owner"
    """Somebody else owns the output, account or asset."""
    UNBALANCED = "unbalanced"
    """Inputs and outputs of an asset differ."""
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    """An amount is zero, negative or too large."""
    TOO_EARLY = "too_early"
    """Before the height from which it is valid."""
    TOO_LATE = "too_late"
    """After the height until which it is valid."""
    BAD_STATE_NONCE = "bad_state_nonce"
    """A State output's nonce does not follow its predecessor's."""
    OUTPUT_TYPE_NOT_ALLOWED = "output_type_not_allowed"
    """This transaction kind cannot spend or make an output of this type."""

    # execution: the transaction stays in the block, costs fee and nonce, and its receipt carries the reason
    UNKNOWN_MESSAGE = "unknown_message"
    """No module has a message of this name."""
    OUT_OF_GAS = "out_of_gas"
    """The gas wanted was used up."""
    INSUFFICIENT_FUNDS = "insufficient_funds"
    """The balance is too small."""
    INSUFFICIENT_ALLOWANCE = "insufficient_allowance"
    """The allowance is too small."""
    UNKNOWN_ASSET = "unknown_asset"
    """No such asset was issued."""
    ASSET_EXISTS = "asset_exists"
    """The issuer already issued an asset with this symbol."""
    NOT_MINTABLE = "not_mintable"
    """The asset was issued with a fixed supply."""
    NOT_BURNABLE = "not_burnable"
    """The asset was issued without the right to burn."""
    NOT_FREEZABLE = "not_freezable"
    """The asset was issued without the right to freeze."""
    FROZEN = "frozen"
    """The issuer froze this account for this asset."""
    LOCK_NOT_FOUND = "lock_not_found"
    """No such lock."""
    LOCKED = "locked"
    """The lock's release height has not come."""
    KEY_IN_USE = "key_in_use"
    """The key belongs or belonged to an account already."""
    VALIDATOR_EXISTS = "validator_exists"
    """The account operates a validator already."""
    INSUFFICIENT_STAKE = "insufficient_stake"
    """Less stake than is asked for or needed."""
    NO_STAKE = "no_stake"
    """The account has no stake with this operator."""
    BANKRUPT = "bankrupt"
    """All stake with this operator was slashed: nothing can be added to it."""
    TOO_MANY_DELEGATIONS = "too_many_delegations"
    """The account has stake in as many places as it may."""
    COMMISSION_STEP = "commission_step"
    """The commission would rise too far or too soon."""
    ROTATED_RECENTLY = "rotated_recently"
    """The consensus key was changed within the last unbonding period."""
    TOMBSTONED = "tombstoned"
    """The validator signed two things where it may sign one; it never votes again."""
    NOT_JAILED = "not_jailed"
    """The validator is not in jail."""
    JAILED = "jailed"
    """The stay in jail is not over."""
    BAD_ARGUMENT = "bad_argument"
    """A field has a value that the rule does not allow."""
    BAD_SPACE = "bad_space"
    """The proof of space does not answer the challenge."""
    BAD_WORK = "bad_work"
    """The validator's hashcash does not reach the bits that the chain asks for."""
    BAD_TIME_PROOF = "bad_time_proof"
    """The proof of the delay function does not hold."""
    NOT_ASKED = "not_asked"
    """The chain does not ask for such a proof."""
    WRONG_EPOCH = "wrong_epoch"
    """The proof is for another epoch than the block's."""
    ALREADY_GIVEN = "already_given"
    """The same proof was given in this epoch already."""

    # mempool
    ALREADY_KNOWN = "already_known"
    """The same bytes are in the mempool already."""
    ALREADY_COMMITTED = "already_committed"
    """The transaction is in a block already."""
    CONFLICT = "conflict"
    """Another pending transaction spends the same input or nonce."""
    MEMPOOL_FULL = "mempool_full"
    """No room, and the fee does not evict another."""
    SENDER_LIMIT = "sender_limit"
    """The sender has too many pending transactions."""

    # consensus
    UNKNOWN_VALIDATOR = "unknown_validator"
    """The signer is not in the validator set of that height."""
    WRONG_PROPOSER = "wrong_proposer"
    """The proposal is not by the round's proposer."""
    WRONG_HEIGHT = "wrong_height"
    """Of another height than expected."""
    BAD_HEADER = "bad_header"
    """A header field differs from what the chain's rules give."""
    BAD_COMMIT = "bad_commit"
    """The commit is not of this block, is out of order, or has not more than 2/3 of the power."""
    BAD_TIME = "bad_time"
    """The block time does not rise, or is outside precision and delay."""
    BAD_EVIDENCE = "bad_evidence"
    """The evidence proves nothing."""

    # light client
    UNTRUSTED = "untrusted"
    """Too little of the trusted power signed the new header."""
    TRUST_EXPIRED = "trust_expired"
    """The trusted header is older than the trust period."""
    FORKED = "forked"
    """Two headers of one height were both proven: nothing is believed any more."""
    BAD_WITNESS = "bad_witness"
    """A witness contradicts what was proven, and cannot prove its own."""
    NO_WITNESS = "no_witness"
    """No witness confirms the header."""
    NOT_VERIFIABLE = "not_verifiable"
    """Nothing can prove the answer to this question."""
    NOT_AVAILABLE = "not_available"
    """The node does not have what was asked (pruned, too new, not found)."""

    # peers
    WRONG_GENESIS = "wrong_genesis"
    """The other side has another genesis."""
    WRONG_PEER = "wrong_peer"
    """The other side is not who was dialled."""
    PEER_REFUSED = "peer_refused"
    """The other side refused us, or we refuse it by name."""
    HANDSHAKE_FAILED = "handshake_failed"
    """Key exchange or authentication failed."""
    UNREACHABLE = "unreachable"
    """Nobody answers there."""
    TIMED_OUT = "timed_out"
    """No answer in time."""
    CONNECTION_LOST = "connection_lost"
    """The connection ended."""
    TOO_MANY_CONNECTIONS = "too_many_connections"
    """A connection limit is reached."""
    REPLACED = "replaced"
    """Another connection with the same peer took this one's place."""
    CLOSING = "closing"
    """The other side is shutting down, or we are."""
    PROTOCOL_VIOLATION = "protocol_violation"
    """The peer broke a rule of the wire protocol."""
    SLOW_READER = "slow_reader"
    """A subscriber did not keep up with the events, and was let go."""

    # this machine
    BAD_CONFIG = "bad_config"
    """A configuration key or value is wrong."""
    BAD_PLOT = "bad_plot"
    """A plot file is damaged, is another than its name says, or cannot be made."""
    BAD_GENESIS = "bad_genesis"
    """The genesis document is malformed or breaks a rule."""
    GENESIS_MISMATCH = "genesis_mismatch"
    """The genesis differs from the one that this home was made with."""
    HOME_MISSING = "home_missing"
    """There is no node home at this path."""
    HOME_EXISTS = "home_exists"
    """The home is already initialised."""
    HOME_IN_USE = "home_in_use"
    """Another process uses this home."""
    PORT_IN_USE = "port_in_use"
    """Another program listens on this port."""
    BAD_SNAPSHOT = "bad_snapshot"
    """A file is damaged or no snapshot, or cannot be written."""
    CORRUPT_DATABASE = "corrupt_database"
    """A checksum or a hash in the database is wrong."""
    UPGRADE_NEEDED = "upgrade_needed"
    """The chain goes on with a protocol version that this program does not know."""
    CORRUPT_LOG = "corrupt_log"
    """The consensus log is damaged before its last record."""
    BAD_SIGN_STATE = "bad_sign_state"
    """The file of what this validator signed last is missing, damaged, or of another key or chain."""
    SIGN_STATE_EXPORTED = "sign_state_exported"
    """The last-sign state was exported: another machine may sign with this key."""
    DOUBLE_SIGN = "double_sign"
    """It stands below or beside what this validator signed already."""
    NODE_DIED = "node_died"
    """A node process that was started ended by itself."""
    USAGE = "usage"
    """The command line is wrong."""
    UNKNOWN_METHOD = "unknown_method"
    """The API has no such method or path."""
    INTERNAL = "internal"
    """A fault of this program; the log has more."""

    @property
    def permanent(self) -> bool:
        """True if the same bytes can never become acceptable, so that who sent them may be punished."""
        return self not in _TEMPORARY


_TEMPORARY = frozenset({
    Reason.UNKNOWN_KEY, Reason.UNKNOWN_ANCHOR, Reason.EXPIRED, Reason.EXPIRY_TOO_FAR, Reason.INSUFFICIENT_WORK,
    Reason.MISSING_WHERE, Reason.WRONG_EPOCH, Reason.ALREADY_GIVEN,
    Reason.NONCE_TOO_LOW, Reason.NONCE_TOO_HIGH, Reason.FEE_TOO_LOW, Reason.INSUFFICIENT_FEE_FUNDS,
    Reason.OUTPUT_NOT_FOUND, Reason.TOO_EARLY, Reason.TOO_LATE, Reason.ALREADY_KNOWN, Reason.ALREADY_COMMITTED,
    Reason.CONFLICT, Reason.MEMPOOL_FULL, Reason.SENDER_LIMIT, Reason.NOT_AVAILABLE,
    Reason.UNREACHABLE, Reason.TIMED_OUT, Reason.CONNECTION_LOST, Reason.TOO_MANY_CONNECTIONS, Reason.REPLACED,
    Reason.CLOSING, Reason.FROZEN,
    Reason.LOCKED, Reason.JAILED, Reason.COMMISSION_STEP, Reason.ROTATED_RECENTLY, Reason.INSUFFICIENT_STAKE,
    Reason.INSUFFICIENT_FUNDS, Reason.INSUFFICIENT_ALLOWANCE, Reason.WRONG_HEIGHT, Reason.BAD_TIME,
    Reason.NOT_OWNER, Reason.UNKNOWN_ASSET, Reason.UNBALANCED, Reason.NO_WITNESS,
})


class Refused(Exception):
    """A refusal by name.

    Attributes:
        reason: the machine-readable name.
        detail: one sentence for a person: what was wrong and, where it helps, what would be right.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value
