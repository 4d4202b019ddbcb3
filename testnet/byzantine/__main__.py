"""`python -m testnet.byzantine HOME BEHAVIOUR... [--both NODE_ID] [--deaf]`: run the node of a home that lies.

Who is named with `--both`, once or more often, hears both halves of everything, and is in neither of them. A liar that
is `--deaf` hears of no evidence, so it puts none into its blocks: the others have to learn of it by themselves.
"""

import argparse
import os
import sys
from pathlib import Path

from crypto.errors import Refused
from node.cli.session import Form, report
from node.node import run_node
from p2p.address import parse_peer_id
from testnet.byzantine.behaviours import BEHAVIOURS, lying


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or SIGINT; return the exit code. The first behaviour stands next to the core."""
    parser = argparse.ArgumentParser(prog="python -m testnet.byzantine", description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("behaviours", nargs="+", metavar="BEHAVIOUR", help=", ".join(BEHAVIOURS))
    parser.add_argument("--both", action="append", default=[], metavar="NODE_ID")
    parser.add_argument("--deaf", action="store_true")
    given = parser.parse_args(arguments)
    try:
        hearing_both = frozenset(parse_peer_id(text) for text in given.both)
        run_node(given.home, os.environ, wrap=lying(*given.behaviours, accomplices=hearing_both, deaf=given.deaf))
    except Refused as refused:
        report(refused, Form.TEXT)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
