"""`python -m testnet.lab.release HOME VERSION`: the node of a home as another release would run it.

A release is known by the newest protocol version that it goes on with. No rules differ between those versions yet, so
this tries the way from one to the next: approval, the height, who stops there, and who comes back.
"""

import os
import sys
from pathlib import Path

from crypto.errors import Refused
from node.cli.session import Form, report
from node.node import run_node
from node.rejoining import Joining


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    if len(arguments) != 2 or not arguments[1].isdecimal():
        sys.stderr.write("usage: python -m testnet.lab.release HOME VERSION\n")
        return 2
    home, newest = Path(arguments[0]), int(arguments[1])
    try:
        run_node(home, os.environ, versions=tuple(range(1, newest + 1)), joining=Joining(None))
    except Refused as refused:
        report(refused, Form.JSON)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
