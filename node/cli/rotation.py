"""Changing an account's key: the new key is on disk before the chain hears of it, the old one until it has."""

from typing import Any

from crypto.address import encode_address
from crypto.errors import Reason, Refused
from crypto.keyfile import Preset
from crypto.keys import SecretKey
from crypto.schemes import address_of
from node.api.methods import GetAccount
from node.cli.accounts import account_of, chain_point
from node.cli.session import Session
from node.client import Client
from node.keystore import KeyEntry, Keystore
from node.wallet import call, rotate_key_message


def rotate(session: Session, name: str, new_key: SecretKey, password: str, cost: Preset) -> dict[str, Any]:
    """Make `new_key` the key of a stored account, on chain and in the home, and return what happened.

    A rotation that was interrupted before is settled first, by what the chain says.

    Raises:
        Refused: what the key files, the node or the chain refuse; the stored key then stays.
    """
    store = Keystore(session.home / "keys")
    with Client(session.url) as client:
        settle(store, client, name, password)
        opened = store.open(name, password)
        account, nonce = account_of(client, store.entry(name))
        point = chain_point(client)
        store.prepare_rotation(name, new_key, password, cost)
        signed = call(point, account, opened.key, nonce, [rotate_key_message(point.chain_id, account.address, new_key)])
        try:
            client.submit_one(signed.raw, wait="committed", timeout=60.0)
        finally:
            happened = settle(store, client, name, password)
        if not happened:
            raise Refused(Reason.TIMED_OUT, "the rotation is not on chain; the key stays as it is")
    return {"name": name, "account": encode_address(account.address), "key": encode_address(new_key.address)}


def settle(store: Keystore, client: Client, name: str, password: str) -> bool:
    """Finish a rotation that is under way by what the chain says; return whether the successor is in place.

    Raises:
        Refused: TIMED_OUT if the node cannot tell yet; the successor is then kept for the next time.
    """
    successor = store.successor(name, password)
    if successor is None:
        return False
    entry: KeyEntry = store.entry(name)
    view = client.ask(GetAccount(address=encode_address(entry.address)))
    happened = address_of(view.public_key) == successor.key.address if view.public_key else False
    if not happened and view.pending_nonce != view.nonce:
        raise Refused(Reason.TIMED_OUT, f"a transaction of {name!r} waits for a block; run it again when it has come")
    store.finish_rotation(name, happened=happened)
    return happened
