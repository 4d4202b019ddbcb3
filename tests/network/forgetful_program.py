"""`python -m tests.network.forgetful_program HOME`: `nexus start` with a node that keeps fewer blocks than it may.

config.toml asks for 1,000 blocks at least, which would take minutes to make. It also looks at itself more often.
"""

import os
import sys
from pathlib import Path

from crypto.errors import Refused
from node import node, rejoining
from node.cli.session import Form, report
from node.rejoining import Joining
from state.chainstore import ChainOptions

KEPT = 6
"""Blocks."""


def forgetful(**_settings: object) -> ChainOptions:
    return ChainOptions(keep_undo=4, keep_blocks=KEPT)


if __name__ == "__main__":
    node.ChainOptions = forgetful  # type: ignore[assignment, attr-defined]
    rejoining.LOOK_EVERY = 0.5  # type: ignore[misc]
    try:
        node.run_node(Path(sys.argv[1]), os.environ, joining=Joining())
    except Refused as refused:
        report(refused, Form.JSON)
        sys.exit(1)
