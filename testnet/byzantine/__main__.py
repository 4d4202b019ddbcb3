"""`python -m testnet.byzantine HOME BEHAVIOUR...`: run the node of a home with a validator that lies."""

import os
import sys
from pathlib import Path

from crypto.errors import Refused
from node.cli.session import Form, report
from node.node import run_node
from testnet.byzantine.behaviours import BEHAVIOURS, lying


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or SIGINT; return the exit code. The first behaviour stands next to the core."""
    if len(arguments) < 2:
        sys.stderr.write(f"usage: python -m testnet.byzantine HOME BEHAVIOUR...\nbehaviours: {', '.join(BEHAVIOURS)}\n")
        return 2
    home, *names = arguments
    try:
        run_node(Path(home), os.environ, wrap=lying(*names))
    except Refused as refused:
        report(refused, Form.TEXT)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
