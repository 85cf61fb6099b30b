"""What stays with a finished workflow: its request and its last steps, so that its history is whole. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from kessai.sdk.workflow.steps import Step

_encoder = msgspec.json.Encoder()


class ArchivedStep(msgspec.Struct, frozen=True, array_like=True):
    """A step of the last flush; `argument_hash` in hexadecimal digits."""

    seq: int
    kind: int
    name: str
    argument_hash: str
    failed: bool
    outcome: msgspec.Raw
    writes: int
    recorded_at: datetime


class Archive(msgspec.Struct, frozen=True, omit_defaults=True):
    """The column `steps` of a finished workflow."""

    request: msgspec.Raw
    call: msgspec.Raw
    steps: list[ArchivedStep] = []


_decoder = msgspec.json.Decoder(Archive)


def archived(request: bytes, call: bytes, steps: list[Step], writes: int) -> bytes:
    """The request, the call that brought it, and the steps that were journalled with the outcome."""
    last = [
        (s.seq, s.kind, s.name, s.argument_hash.hex(), s.failed, msgspec.Raw(s.outcome), writes, s.recorded_at)
        for s in steps
    ]
    # Put together by hand: this is done for every workflow, and both parts are JSON already.
    return b'{"request":%b,"call":%b,"steps":%b}' % (request, call, _encoder.encode(last))


def read_archive(workflow_id: str, data: bytes) -> tuple[bytes, bytes, list[Step]] | None:
    """Request, call and last steps; None where they are no longer, or never were, kept."""
    try:
        archive = _decoder.decode(data)
    except msgspec.DecodeError:
        return None
    return bytes(archive.request), bytes(archive.call), [_step(workflow_id, each) for each in archive.steps]


def _step(workflow_id: str, each: ArchivedStep) -> Step:
    digest, outcome = bytes.fromhex(each.argument_hash), bytes(each.outcome)
    first = (workflow_id, each.seq, each.kind, each.name, digest)
    return Step(*first, each.failed, outcome, each.recorded_at, each.writes)
