"""The network of a node: authenticated peers, dialled again when lost."""

from contextlib import AbstractAsyncContextManager

from crypto.keys import SecretKey
from p2p.config import NetworkConfig
from p2p.network import Network
from state.types import ChainId


def open_network(
    config: NetworkConfig, identity: SecretKey, chain_id: ChainId,
) -> AbstractAsyncContextManager[Network]:
    """Listen, dial the persistent peers, and keep both up while the context lasts.

    Args:
        config: where to listen, whom to dial, how much to allow.
        identity: the node key, of scheme FALCON.
        chain_id: the genesis hash; peers of another chain are refused with WRONG_GENESIS.

    Raises:
        Refused: PORT_IN_USE if the port is taken; BAD_CONFIG if a setting cannot be used.
    """
    raise NotImplementedError
