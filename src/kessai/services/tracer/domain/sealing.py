"""Digests of reports and verdicts, Merkle trees over batches of verdicts, and the chain of batches.

Anyone can compute them again: JSON in UTF-8 without blanks, with every field of a message in the order of their
numbers; SHA-256; and for the trees the rules of RFC 6962 (section 2.1): a leaf is hashed after a byte 0, two nodes
after a byte 1, and a tree of n leaves is split at the largest power of two below n.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from kessai.sdk.processing.api import ConsistencyReport

NOTHING = bytes(32)
"""The seal before the first batch."""
SIZE = 32

_encode = msgspec.json.Encoder(order="deterministic").encode


def report_digest(participant: str, report: ConsistencyReport) -> bytes:
    """SHA-256 of a whole report; its effects enter by their own digest."""
    content = (
        report.processing_id,
        report.revision,
        participant,
        report.outcome,
        report.digest,
        sorted(report.dependencies),
        sorted(report.callers),
        report.differences,
    )
    return hashlib.sha256(_encode(content)).digest()


def leaf_of(
    processing_id: str,
    revision: int,
    verdict: str,
    *,
    late: Sequence[str],
    undeclared: Sequence[tuple[str, str]],
    reports: Sequence[tuple[str, bytes]],
) -> bytes:
    """The leaf of a verdict: who was late, which call nobody declared, and the digest of each report it rests on."""
    named = [(participant, digest.hex()) for participant, digest in reports]
    content = (processing_id, revision, verdict, sorted(late), sorted(undeclared), sorted(named))
    return hashlib.sha256(b"\x00" + _encode(content)).digest()


def seal_of(previous: bytes, batch: int, leaf_count: int, root: bytes) -> bytes:
    """The link of a batch: SHA-256 of the seal before it, its number and size (8 bytes each, big-endian), its root."""
    numbers = batch.to_bytes(8, "big") + leaf_count.to_bytes(8, "big")
    return hashlib.sha256(previous + numbers + root).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The Merkle root of one or more leaves."""
    return _levels(leaves)[-1][0]


def path_of(leaves: Sequence[bytes], index: int) -> list[tuple[str, bytes]]:
    """What to hash with a leaf, from it up to the root: (`left` or `right`, the other node)."""
    path: list[tuple[str, bytes]] = []
    for level in _levels(leaves)[:-1]:
        beside = index ^ 1
        if beside < len(level):
            path.append(("left" if beside < index else "right", level[beside]))
        index //= 2
    return path


def climbed(leaf: bytes, path: Sequence[tuple[str, bytes]]) -> bytes:
    """The root that a leaf and its path come to."""
    for side, other in path:
        leaf = _node(other, leaf) if side == "left" else _node(leaf, other)
    return leaf


def split(leaves: bytes) -> list[bytes]:
    """The leaves of a batch as they are stored, one after the other."""
    return [leaves[at : at + SIZE] for at in range(0, len(leaves), SIZE)]


def _levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """From the leaves to the root; a node without a neighbour goes up as it is."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        level = levels[-1]
        above = [_node(left, right) for left, right in list(pairwise(level))[::2]]
        levels.append([*above, level[-1]] if len(level) % 2 else above)
    return levels


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
