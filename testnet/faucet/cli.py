"""`nexus testnet faucet`: gives away a testnet's money."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Final

import trio
import typer

from crypto.errors import Reason, Refused
from node.amounts import NATIVE_DECIMALS, NATIVE_SYMBOL, format_amount, parse_quantity, to_smallest
from node.keystore import Keystore
from state.records import NATIVE_TEXT
from testnet.create import WALLET_PASSWORD
from testnet.faucet.limits import Limits
from testnet.faucet.server import Settings, serve_faucet
from testnet.network import LocalNetwork

FAUCET: Final = "faucet"
"""Name of the wallet that a testnet has for this."""
PORT: Final = 8080
DEFAULT_ROOT: Final = Path.home() / ".nexus-testnet"


def faucet(
    home: Annotated[Path, typer.Option("--home", help="The testnet's folder.")] = DEFAULT_ROOT,
    host: Annotated[str, typer.Option(help="IPv6 address to listen on; :: for everybody.")] = "::1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 for any.")] = PORT,
    ask: Annotated[str, typer.Option("--ask", metavar="NODE", help="Which node it pays through.")] = "0",
    amount: Annotated[str, typer.Option(help="One gift.")] = "10nxs",
    each_account: Annotated[int, typer.Option(min=1, help="Gifts to one account in a window.")] = 3,
    each_prefix: Annotated[int, typer.Option(min=1, help="Gifts to one IPv6 /64 in a window.")] = 30,
    window: Annotated[float, typer.Option(min=1, help="Seconds.")] = 3600.0,
) -> None:
    """Give a little money to whoever asks: POST /give {"address": "nx1..."}. For networks that `testnet up` made."""
    network = LocalNetwork(home)
    quantity = parse_quantity(amount)
    if quantity.unit not in (NATIVE_SYMBOL, NATIVE_TEXT):
        raise Refused(Reason.USAGE, f"a faucet gives nxs, not {quantity.unit}")
    gift = to_smallest(quantity, NATIVE_DECIMALS)
    store = Keystore(home / "wallets" / "keys")
    settings = Settings(
        store.open(FAUCET, WALLET_PASSWORD).key, network.member(ask).url, network.manifest.chain_id, gift,
        Limits(window, each_account, each_prefix), host, port,
    )
    trio.run(_serve, settings)


async def _serve(settings: Settings) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            port = await nursery.start(serve_faucet, settings)
            gift, limits = format_amount(settings.amount), settings.limits
            sys.stdout.write(
                f"the faucet gives {gift} at http://[{settings.host}]:{port}, {limits.each_account} times "
                f"in {limits.window:.0f} s to an account\n"
            )
            sys.stdout.flush()
            async for _number in signals:
                break
            nursery.cancel_scope.cancel()
