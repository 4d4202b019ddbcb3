"""A network of real processes, and the words with which people ask its nodes."""

from pathlib import Path

from testnet.create import WALLET_PASSWORD, create_network
from testnet.network import LocalNetwork
from testnet.view import look


class Town:
    """Four validators, and a password that all wallets have."""

    def __init__(self, root: Path) -> None:
        self.root = root
        create_network(root, 4)
        self.net = LocalNetwork(root)
        self.password = root / "password"
        self.password.write_text(WALLET_PASSWORD)

    def start(self) -> None:
        """Start all nodes, and wait until they know each other."""
        self.net.start_all()
        self.net.wait_until(lambda: all(row.state == "running" and row.peers for row in look(self.net)), "the start")
        self.spread()

    def spread(self) -> None:
        """Wait until every node has the blocks that any has: who is asked next need not be who was told last."""
        best = max(row.height or 0 for row in look(self.net))
        self.net.wait_until(lambda: all((row.height or 0) >= best for row in look(self.net)), "the same blocks")

    def words(self, home: str, node: int, *words: str) -> list[str]:
        """Return what a person writes after `nexus`."""
        where = ["--home", str(self.root / home), "--node", self.net.members[node].url]
        return ["--output", "json", *where, *words, "--password-file", str(self.password)]
