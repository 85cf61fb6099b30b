"""Where the outside is, and how its refusals are read: each has to name what it is about, or it is no answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from urllib.parse import urlencode

import msgspec

from kessai.foundation.outbound import Answer, Destination, NotSent, Outbound, Unanswered

NETWORK, FILES, SMS = "cardnetwork", "cardnetwork-files", "sms"
"""Destinations, in errors, logs and metrics."""
NOT_FOUND, CONFLICT, DECLINED = 404, 409, 422
TIMEOUT_S = 3.0
FILE_TIMEOUT_S = 30.0
FILE_BYTES_MAX = 16 * 1024 * 1024
CALLS_MAX = 32


class Problem(msgspec.Struct, frozen=True):
    """A refusal."""

    code: str
    id: str


def network_destination(url: str | None, key: str) -> Destination | None:
    """The card network at an address, with our credential; None when there is none."""
    return _destination(NETWORK, url, key)


def sms_destination(url: str | None, key: str) -> Destination | None:
    """The sender of text messages at an address, with our credential; None when there is none."""
    return _destination(SMS, url, key)


def _destination(name: str, url: str | None, key: str) -> Destination | None:
    if url is None:
        return None
    headers = {"authorization": f"Bearer {key}"}
    return Destination(name=name, base_url=url, headers=headers, timeout_s=TIMEOUT_S, concurrency_max=CALLS_MAX)


def files_destination(network: Destination | None) -> Destination | None:
    """The way for files to the card network: slower, larger, with slots of its own."""
    if network is None:
        return None
    headers = {**network.headers, "content-type": "application/octet-stream"}
    return replace(
        network,
        name=FILES,
        headers=headers,
        timeout_s=FILE_TIMEOUT_S,
        concurrency_max=4,
        answer_bytes_max=FILE_BYTES_MAX,
    )


def opened(outbound: Outbound | None, name: str) -> Outbound:
    """The way there; NotSent when there is none."""
    if outbound is None:
        raise NotSent("destination_unreachable", f"No {name} is configured.", destination=name)
    return outbound


def at(path: str, now: datetime, **query: object) -> str:
    """A path with our business time, by which the other party goes."""
    return f"{path}?{urlencode({**query, 'at': now.isoformat()})}"


def problem_of(answer: Answer, about: str) -> str:
    """The code of a refusal; Unanswered when it is about something else."""
    problem = answer.decode(Problem)
    if problem.id != about or answer.status not in (NOT_FOUND, CONFLICT, DECLINED):
        raise unfit(answer)
    return problem.code


def unfit(answer: Answer) -> Unanswered:
    """An answer to something else, or none that is known: it says nothing."""
    name = answer.destination
    return Unanswered("answer_unfit", f"{name} answered something else.", destination=name, status=answer.status)
