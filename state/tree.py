"""The state tree: one root over all records, kept up to date block by block. `state.pages` defines its form.

Inner nodes live in memory (about 0.6 kB for each 15 pages) and are rebuilt by one scan at start. Pages are never
written: a page is a range of the state column, read on a miss, checked against the hash that its parent holds, and
cached. What an update overwrites is kept for the last few heights, so that proofs can be made for headers that are
already final, and so that an update whose write failed can be taken back.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from crypto.errors import Reason, Refused
from state.changes import Changes
from state.columns import record_value, state_range
from state.pages import (
    DIGEST,
    DIGIT_OF,
    DIGITS,
    EMPTY_DIGEST,
    EMPTY_NODE,
    ENTRY,
    FANOUT,
    NODE_SIZE,
    PAGE_RECORDS,
    child_of,
    leaf_digest,
    node_hash,
    page_hash,
    position,
    record_count,
    set_child,
    split,
    state_key,
)
from state.proof import StateProof
from state.store import View
from state.types import Height

ROW_BYTES: Final = 160
"""What Python spends on one cached page or kept node besides its bytes (object header, prefix, dict slot)."""
SPLICE_LIMIT: Final = 4
"""From this many writes to one page on, sorting it anew is cheaper than splicing each."""

Leaf = tuple[bytes, bytes | None]
"""A hashed key with its new leaf digest; None removes the entry."""


@dataclass(frozen=True, slots=True)
class TreeLimits:
    """Bounds of what the tree keeps in memory besides its inner nodes.

    Attributes:
        page_bytes: cached pages, counted with their overhead.
        heights: how many past heights proofs can be made for.
        history_bytes: bound on what those heights keep; the last two are kept in any case.
    """

    page_bytes: int = 96 << 20
    heights: int = 8
    history_bytes: int = 32 << 20


@dataclass(slots=True)
class _Undo:
    """What one update overwrote; None stands for a prefix that had no node or page of that kind."""

    height: Height
    root: bytes
    nodes: dict[str, bytes | None] = field(default_factory=dict)
    pages: dict[str, bytes | None] = field(default_factory=dict)

    def size(self) -> int:
        kept = sum(len(page) for page in self.pages.values() if page)
        return kept + len(self.nodes) * (NODE_SIZE + ROW_BYTES) + len(self.pages) * ROW_BYTES


class StateTree:
    """The tree at one height, with a short history.

    Attributes:
        height: the block after which `root` is the root of the records.
        root: 32 bytes.
        page_hits: pages that were in the cache when they were needed.
        page_misses: pages that had to be read.
    """

    def __init__(self, view: View, height: Height, limits: TreeLimits) -> None:
        """Make an empty tree; `load` is the way to one over existing records.

        Args:
            view: where pages are read from; it must hold the records of `height` whenever a page is read.
            height: the height of the records.
            limits: bounds on memory.
        """
        self._view = view
        self._limits = limits
        self._nodes: dict[str, bytes] = {"": EMPTY_NODE}
        self._pages: dict[str, bytes] = {}  # least recently used first
        self._page_bytes = 0
        self._dirty: defaultdict[int, dict[str, bytearray]] = defaultdict(dict)  # depth -> nodes under change
        self._history: deque[_Undo] = deque()
        self._history_bytes: deque[int] = deque()
        self.height = height
        self.root = node_hash(EMPTY_NODE)
        self.page_hits = self.page_misses = 0

    @classmethod
    def load(cls, view: View, height: Height, limits: TreeLimits | None = None) -> "StateTree":
        """Build the tree over all records of the state column by one scan.

        The caller compares `root` with the one that it stored. Raises Refused(CORRUPT_DATABASE).
        """
        tree = cls(view, height, limits or TreeLimits())
        top = bytearray(EMPTY_NODE)
        for digit, prefix in enumerate(DIGITS):
            entries = tree._read(prefix)
            if entries:
                set_child(top, digit, tree._plant(prefix, entries, _Undo(height, b"")), len(entries) // ENTRY)
            tree.trim()
        tree._nodes[""] = bytes(top)
        tree.root = node_hash(tree._nodes[""])
        return tree

    @classmethod
    def over(cls, view: View, nodes: Mapping[str, bytes], height: Height) -> "StateTree":
        """Return a tree of its own over inner nodes that are known and records that stay as they are.

        Args:
            view: holds the records of the nodes, for good.
            nodes: by prefix; copied.
            height: what the tree is called.
        """
        tree = cls(view, height, TreeLimits())
        tree._nodes = dict(nodes)
        tree.root = node_hash(tree._nodes[""])
        return tree

    @property
    def oldest_height(self) -> Height:
        """The lowest height that a proof can be made for."""
        return Height(self.height - len(self._history))

    @property
    def records(self) -> int:
        """How many records there are."""
        return record_count(self._nodes[""])

    def update(self, height: Height, changes: Iterable[tuple[bytes, bytes | None]]) -> bytes:
        """Apply a block's changes and return the new root. The new records must be in the view before the next update.

        Args:
            height: the present height plus one.
            changes: *hashed* key (`state.pages.state_key`) and new value, each key once; None removes the record
                (an absent one is no error).

        Raises:
            Refused: CORRUPT_DATABASE, with the tree as it was before.
        """
        if height != self.height + 1:
            raise ValueError(f"the tree is at height {self.height}, so the next update is not for {height}")
        undo = _Undo(height, self.root)
        self._apply(changes, undo)
        self.height = height
        self._history.append(undo)
        self._history_bytes.append(undo.size())
        limits = self._limits
        while len(self._history) > limits.heights or (
            len(self._history) > 2 and sum(self._history_bytes) > limits.history_bytes
        ):
            self._history.popleft()
            self._history_bytes.popleft()
        return self.root

    def rollback(self) -> None:
        """Take back the last update, whose records were not written."""
        undo = self._history.pop()
        self._history_bytes.pop()
        self._restore(undo)
        self.height = Height(undo.height - 1)

    def replay(self, recent: Iterable[Changes]) -> None:
        """Regain the history after a restart: undo the given blocks, newest first, and do them again.

        Raises:
            Refused: CORRUPT_DATABASE if that does not lead back to the same root.
        """
        blocks, root, top = list(recent), self.root, self.height
        for changes in blocks:
            self._apply(_hashed(changes.invert()), _Undo(self.height, self.root))
        self.height = Height(top - len(blocks))
        for changes in reversed(blocks):
            self.update(Height(self.height + 1), _hashed(changes))
        if self.root != root:
            raise Refused(Reason.CORRUPT_DATABASE, "the stored changes do not lead to the stored state")
        self.trim()

    def trim(self) -> None:
        """Drop the least recently used pages beyond the limit. Call it only when the records are in the view."""
        limit = self._limits.page_bytes
        if self._page_bytes <= limit:
            return
        surplus = self._page_bytes - limit + limit // 16  # some more, so that the walk is rare
        victims = []
        for prefix, page in self._pages.items():
            if surplus <= 0:
                break
            surplus -= len(page) + ROW_BYTES
            victims.append(prefix)
        for prefix in victims:
            self._forget(prefix)

    def prove(self, raw_key: bytes, height: Height, value: bytes | None) -> StateProof:
        """Return the proof that the record had `value` (None: did not exist) after block `height`.

        Raises:
            Refused: NOT_AVAILABLE if the height is too old or too new, CORRUPT_DATABASE.
        """
        if not self.oldest_height <= height <= self.height:
            raise Refused(
                Reason.NOT_AVAILABLE, f"proofs are made for heights {self.oldest_height} to {self.height} only"
            )
        later = [undo for undo in self._history if undo.height > height]
        path = state_key(raw_key).hex()
        nodes: list[bytes] = []
        depth = 0
        while (node := self._node_at(path[:depth], later)) is not None:
            nodes.append(node)
            depth += 1
        return StateProof(() if value is None else (value,), self._page_at(path[:depth], later), tuple(nodes))

    # ---- looking back

    def nodes_before(self) -> tuple[bytes, dict[str, bytes]]:
        """Return the root and all inner nodes as they were before the last update.

        Raises:
            Refused: NOT_AVAILABLE if that is not known any more.
        """
        if not self._history:
            raise Refused(Reason.NOT_AVAILABLE, f"the tree before height {self.height} is not kept")
        undo, nodes = self._history[-1], dict(self._nodes)
        for prefix, node in undo.nodes.items():
            if node is None:
                nodes.pop(prefix, None)
            else:
                nodes[prefix] = node
        return undo.root, nodes

    def _node_at(self, prefix: str, later: list[_Undo]) -> bytes | None:
        for undo in later:
            if prefix in undo.nodes:
                return undo.nodes[prefix]
        return self._nodes.get(prefix)

    def _page_at(self, prefix: str, later: list[_Undo]) -> bytes:
        for undo in later:
            if prefix in undo.pages:
                return undo.pages[prefix] or b""
        return self._page(prefix)

    # ---- pages

    def _read(self, prefix: str) -> bytes:
        """Return the entries of all records under a prefix."""
        rows = self._view.scan(*state_range(prefix))
        return b"".join([key[1:] + leaf_digest(record_value(key, row)) for key, row in rows])

    def _page(self, prefix: str) -> bytes:
        """Return a page from the cache, or read and check it. An empty one needs no reading."""
        page = self._pages.get(prefix)
        if page is not None:
            self.page_hits += 1
            return page
        digest, count = child_of(self._nodes[prefix[:-1]], int(prefix[-1], 16))
        if not count:
            return b""
        self.page_misses += 1
        page = self._read(prefix)
        if page_hash(page) != digest:
            raise Refused(Reason.CORRUPT_DATABASE, f"the records under {prefix} are not those that the root stands for")
        return page

    def _remember(self, prefix: str, page: bytes) -> None:
        older = self._pages.pop(prefix, None)  # so that it comes last
        self._pages[prefix] = page
        self._page_bytes += len(page) + ROW_BYTES if older is None else len(page) - len(older)

    def _forget(self, prefix: str) -> None:
        page = self._pages.pop(prefix, None)
        if page is not None:
            self._page_bytes -= len(page) + ROW_BYTES

    # ---- changing

    def _apply(self, changes: Iterable[tuple[bytes, bytes | None]], undo: _Undo) -> None:
        try:
            for prefix, leaves in self._group(changes).items():
                before = self._page(prefix)
                self._put(prefix, before, _edit(before, leaves), undo)
            for depth in range(max(self._dirty, default=-1), -1, -1):
                for prefix, node in self._dirty[depth].items():
                    self._settle(prefix, node, undo)
        except BaseException:
            self._restore(undo)
            raise
        finally:
            self._dirty.clear()

    def _group(self, changes: Iterable[tuple[bytes, bytes | None]]) -> dict[str, list[Leaf]]:
        """Sort the changes by the page that each belongs to."""
        nodes = self._nodes
        groups: dict[str, list[Leaf]] = {}
        for key, value in changes:
            path = key.hex()
            depth = 3 if path[:3] in nodes else 1  # nodes have no gaps, and most pages of a large state lie deeper
            while (prefix := path[:depth]) in nodes:
                depth += 1
            leaf = (key, None if value is None else leaf_digest(value))
            group = groups.get(prefix)
            if group is None:
                groups[prefix] = [leaf]
            else:
                group.append(leaf)
        return groups

    def _put(self, prefix: str, before: bytes | None, page: bytes, undo: _Undo) -> None:
        """Put a page in place, or the subtree that it grows into, and tell its parent."""
        if page == before:
            return
        undo.pages.setdefault(prefix, before)
        if len(page) > PAGE_RECORDS * ENTRY:
            self._forget(prefix)
            digest = self._plant(prefix, page, undo)
        elif page:
            self._remember(prefix, page)
            digest = page_hash(page)
        else:
            self._forget(prefix)
            digest = EMPTY_DIGEST
        self._tell_parent(prefix, digest, len(page) // ENTRY, undo)

    def _plant(self, prefix: str, entries: bytes, undo: _Undo) -> bytes:
        """Make the page or the inner node with all below it of these entries (at least one); return its hash."""
        if len(entries) <= PAGE_RECORDS * ENTRY:
            undo.pages.setdefault(prefix, None)
            self._remember(prefix, entries)
            return page_hash(entries)
        node = bytearray(EMPTY_NODE)
        for digit, part in enumerate(split(entries, len(prefix))):
            if part:
                set_child(node, digit, self._plant(prefix + DIGITS[digit], part, undo), len(part) // ENTRY)
        undo.nodes.setdefault(prefix, None)
        self._nodes[prefix] = raw = bytes(node)
        return node_hash(raw)

    def _tell_parent(self, prefix: str, digest: bytes, count: int, undo: _Undo) -> None:
        parent = prefix[:-1]
        level = self._dirty[len(parent)]
        node = level.get(parent)
        if node is None:
            raw = self._nodes[parent]
            undo.nodes.setdefault(parent, raw)
            node = level[parent] = bytearray(raw)
        set_child(node, DIGIT_OF[prefix[-1]], digest, count)

    def _settle(self, prefix: str, node: bytearray, undo: _Undo) -> None:
        """Give a changed inner node its hash, or make it a page if it has become small."""
        count = record_count(node)
        if prefix and count <= PAGE_RECORDS:
            parts = []
            for digit in range(FANOUT):
                if child_of(node, digit)[1]:
                    child = prefix + DIGITS[digit]
                    part = self._page(child)
                    undo.pages.setdefault(child, part)
                    self._forget(child)
                    parts.append(part)
            del self._nodes[prefix]
            self._put(prefix, None, b"".join(parts), undo)
            return
        self._nodes[prefix] = raw = bytes(node)
        digest = node_hash(raw)
        if prefix:
            self._tell_parent(prefix, digest, count, undo)
        else:
            self.root = digest

    def _restore(self, undo: _Undo) -> None:
        for prefix, node in undo.nodes.items():
            if node is None:
                self._nodes.pop(prefix, None)
            else:
                self._nodes[prefix] = node
        for prefix, page in undo.pages.items():
            if page:
                self._remember(prefix, page)
            else:
                self._forget(prefix)
        self.root = undo.root


def _hashed(changes: Changes) -> Iterable[tuple[bytes, bytes | None]]:
    return ((state_key(raw_key), value) for raw_key, value in changes)


def _edit(page: bytes, leaves: list[Leaf]) -> bytes:
    """Return the entries of a page after some writes; they may be more than a page may hold."""
    if len(leaves) >= SPLICE_LIMIT:
        entries: dict[bytes, bytes | None] = {
            page[at : at + DIGEST]: page[at + DIGEST : at + ENTRY] for at in range(0, len(page), ENTRY)
        }
        entries.update(leaves)
        return b"".join([key + leaf for key, leaf in sorted(entries.items()) if leaf is not None])
    for key, leaf in leaves:
        at = position(page, key)
        rest = at + ENTRY if page.startswith(key, at) else at
        page = page[:at] + page[rest:] if leaf is None else page[:at] + key + leaf + page[rest:]
    return page
