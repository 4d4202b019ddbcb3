"""A program of the next release: `python -m tests.network.new_program HOME` runs a node that knows version 2, too."""

import os
import sys
from pathlib import Path

from crypto.errors import Refused
from node.cli.session import Form, report
from node.node import run_node

if __name__ == "__main__":
    try:
        run_node(Path(sys.argv[1]), os.environ, versions=(1, 2))
    except Refused as refused:
        report(refused, Form.JSON)
        sys.exit(1)
