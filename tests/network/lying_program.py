"""`python -m tests.network.lying_program HOME LIE [FILE]`: a node that follows honestly, and lies to who joins.

`chunk` and `manifest` bend what belongs to a snapshot; `header` answers every question for a light block with FILE.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from consensus.effects import Signer
from crypto.errors import Refused
from node.chain import Chain
from node.cli.session import Form, report
from node.core import Core
from node.node import run_node
from p2p.wire import GetChunk, GetLightBlock, GetManifest, PieceAssembly, Request, piece_frames, request_codec
from state.encoding import encode
from state.snapshot import MAX_CHUNK, manifest_codec

Bend = Callable[[bytes], bytes]


def spoilt(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


def other_manifest(raw: bytes) -> bytes:
    manifest = manifest_codec.decode(raw)
    return encode(replace(manifest, nodes=(spoilt(manifest.nodes[0]), *manifest.nodes[1:])))


def bending(kind: type[Request], bend: Bend) -> Callable[[Core, Signer, Chain], Core]:
    def wrap(core: Core, _signer: Signer, _chain: Chain) -> Core:
        honest = core.answers

        def answers(payload: bytes, moniker: str, port: int) -> Iterator[bytes]:
            frames = honest(payload, moniker, port)
            if not isinstance(request_codec.decode(payload), kind):
                yield from frames
                return
            assembly = PieceAssembly(MAX_CHUNK)
            for frame in frames:
                assembly.feed(frame)
            yield from piece_frames(bend(assembly.whole()))

        core.answers = answers  # type: ignore[method-assign]
        return core

    return wrap


def main(home: str, lie: str, file: str = "") -> int:
    lies: dict[str, tuple[type[Request], Bend]] = {
        "chunk": (GetChunk, spoilt), "manifest": (GetManifest, other_manifest),
        "header": (GetLightBlock, lambda _: Path(file).read_bytes()),
    }
    try:
        run_node(Path(home), os.environ, wrap=bending(*lies[lie]))
    except Refused as refused:
        report(refused, Form.JSON)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
