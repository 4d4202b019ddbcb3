"""A server that lies about money: it hands every question to an honest node, and bends what comes back."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from msgspec.structs import replace

from consensus.light import light_block_codec
from node.api import methods, shapes
from node.api.app import application
from node.api.methods import Ask, Method
from node.api.server import bind_socket, serve_application
from node.api.text import Decimal
from node.client import AsyncClient
from state.encoding import encode
from state.proof import proof_codec
from state.records import decode_amount, encode_amount

GIFT: Final = 1_000_000_000_000
"""unxs that it adds to whatever is asked about: a million NXS."""
Bend = Callable[[Any], Any]


def richer(answer: shapes.BalanceView) -> shapes.BalanceView:
    """Bend a plain answer: nothing in it shows the lie."""
    return replace(answer, amount=Decimal(answer.amount + GIFT))


def richer_proof(answer: shapes.ProofView) -> shapes.ProofView:
    """Bend the value in a proof, and leave the rest."""
    proof = proof_codec.decode(answer.proof)
    value = tuple(encode_amount(decode_amount(one) + GIFT) for one in proof.value)
    return replace(answer, proof=encode(replace(proof, value=value)))


def forged_block(answer: shapes.LightBlockView) -> shapes.LightBlockView:
    """Put another state root into a signed header."""
    block = light_block_codec.decode(answer.light_block)
    header = {name: getattr(block.header, name) for name in block.header.__struct_fields__}
    forged = type(block.header)(**{**header, "state_root": bytes(32)})
    return replace(answer, light_block=encode(replace(block, header=forged)))


ABOUT_VALUES: Final[Mapping[type[Ask[Any]], Bend]] = {methods.GetBalance: richer, methods.GetProof: richer_proof}
ABOUT_HEADERS: Final[Mapping[type[Ask[Any]], Bend]] = {methods.GetLightBlock: forged_block}


@asynccontextmanager
async def lying_server(honest: AsyncClient, lies: Mapping[type[Ask[Any]], Bend]) -> AsyncIterator[str]:
    """Serve lies on a free port while the context lasts; give the URL."""

    async def asked(method: Method, ask: Any) -> Any:
        answer = await honest.ask(ask)
        bend = lies.get(type(ask))
        return answer if bend is None else bend(answer)

    app = application(asked, lambda: shapes.Health(ready=True, height=Decimal(0)))
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_application, app, bind_socket("::1", 0))
        yield f"http://[::1]:{port}"
        nursery.cancel_scope.cancel()
