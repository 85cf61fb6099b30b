"""Check a document of evidence, as `kessai trace export` and the door's verb give it, with none of kessai's code.

    python check_evidence.py evidence.json [--key BASE64] [--seal BATCH:HEX]

It needs Python 3.11 and the package `cryptography`, and exits 0 when everything holds, 1 with what does not.

--key   The platform's public key as you know it from elsewhere (`GET /v1/tracer/evidence-keys`, or a page that you
        trust). Without it the document's own key is used: that shows that nothing was changed since it was signed, but
        not by whom it was signed.
--seal  A seal that you know from elsewhere, such as another document's. If it is of the batch of one of this
        document's verdicts, or of the one before it, it has to be the same.

What is checked, in this order:
1. The signature (Ed25519) over `content`: JSON in UTF-8 with sorted keys and no blanks.
2. Each report: `digest` is the SHA-256 of its effects' lines (JSON, fields in the order of EFFECT, sorted by bytes,
   joined by line feeds); `report_digest` that of the whole report.
3. Each verdict: it is what its reports allow, every report that it names is there, and its leaf, the path to the root
   (RFC 6962: a leaf is hashed after a byte 0, a node after a byte 1) and the seal follow from one another.
4. The verdict that is shown is the last one, at the present revision.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "kessai.evidence/1"
EFFECT = (
    "effect_id", "part", "kind", "party", "account", "asset", "amount_minor", "captured_minor", "returned_minor",
    "state", "at",
)  # fmt: skip
DIFFERENCE = ("dependency", "kind", "effect_id", "part", "fields", "mine", "theirs", "text")


def problems(document: dict[str, Any], key: str | None = None, seal: str | None = None) -> Iterator[str]:
    """What does not hold, sentence by sentence; nothing when all does."""
    content = document["content"]
    if content["format"] != FORMAT:
        yield f"The format is {content['format']}, not {FORMAT}."
        return
    yield from signature_problems(document, key)
    for record in content["reports"]:
        yield from report_problems(content["processing_id"], record)
    for given in content["verdicts"]:
        yield from verdict_problems(content, given)
    last = content["verdicts"][-1] if content["verdicts"] else {"revision": None, "verdict": None}
    if (last["revision"], last["verdict"]) != (content["revision"], content["verdict"]):
        yield "The verdict that is shown is not the last one."
    if seal is not None:
        yield from seal_problems(content["verdicts"], seal)


# -- 1. the signature ---------------------------------------------------------------------------------------------


def signature_problems(document: dict[str, Any], key: str | None) -> Iterator[str]:
    """Whether the platform has signed this content."""
    if document["algorithm"] != "Ed25519":
        yield f"The algorithm {document['algorithm']} is unknown."
        return
    if key is not None and key != document["public_key"]:
        yield "The document was signed with another key."
        return
    public = base64.b64decode(document["public_key"])
    if hashlib.sha256(public).hexdigest()[:16] != document["key_id"]:
        yield "The key's id is not that of the key."
    signed = json.dumps(document["content"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(document["signature"]), signed)
    except (InvalidSignature, ValueError):
        yield "The signature is not that of this content."


# -- 2. reports -----------------------------------------------------------------------------------------------------


def report_problems(processing_id: str, record: dict[str, Any]) -> Iterator[str]:
    """Whether a report's digests are those of its content."""
    report = record["report"]
    name = f"The report of {record['participant']} at revision {report['revision']}"
    if report["processing_id"] != processing_id:
        yield f"{name} is about another processing."
    lines = sorted(plain(fields(effect, EFFECT)) for effect in report["effects"])
    if hashlib.sha256(b"\n".join(lines)).hexdigest() != report["digest"]:
        yield f"{name}: its effects are not those of its digest."
    content = [
        report["processing_id"],
        report["revision"],
        record["participant"],
        report["outcome"],
        report["digest"],
        sorted(report["dependencies"]),
        sorted(report["callers"]),
        [difference(each) for each in report["differences"]],
    ]
    if hashlib.sha256(plain(content)).hexdigest() != record["report_digest"]:
        yield f"{name}: its content is not that of its digest."


def difference(told: dict[str, Any]) -> dict[str, Any]:
    """A difference with its fields, and those of both records, in order."""
    records = {side: told[side] and fields(told[side], EFFECT) for side in ("mine", "theirs")}
    return fields({**told, **records}, DIFFERENCE)


def fields(record: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """All of a record's fields in the order of `names`; KeyError when one is missing."""
    if unknown := record.keys() - set(names):
        raise KeyError(*sorted(unknown))
    return {name: record[name] for name in names}


def plain(value: Any) -> bytes:
    """JSON in UTF-8 without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


# -- 3. verdicts ----------------------------------------------------------------------------------------------------


def verdict_problems(content: dict[str, Any], given: dict[str, Any]) -> Iterator[str]:
    """Whether a verdict follows from its reports, and is sealed."""
    name = f"The verdict {given['verdict']} at revision {given['revision']}"
    named = {each["participant"]: each["report_digest"] for each in given["reports"]}
    by_digest = {(each["participant"], each["report_digest"]): each["report"] for each in content["reports"]}
    rests_on = {who: by_digest.get((who, digest)) for who, digest in named.items()}
    reports = {who: report for who, report in rests_on.items() if report is not None}
    for who in sorted(rests_on.keys() - reports.keys()):
        yield f"{name}: the report of {who} is not there."
    if any(report["revision"] != given["revision"] for report in reports.values()):
        yield f"{name} rests on a report on another revision."
    if (expected := expected_verdict(reports, given)) != given["verdict"]:
        yield f"{name}: its reports make it {expected}."
    leaf = leaf_of(content["processing_id"], given, named)
    if leaf.hex() != given["leaf"]:
        yield f"{name}: its leaf is not that of its content."
    node = bytes.fromhex(given["leaf"])
    for step in given["path"]:
        other = bytes.fromhex(step["node"])
        node = hashlib.sha256(b"\x01" + (other + node if step["side"] == "left" else node + other)).digest()
    if node.hex() != given["root"]:
        yield f"{name}: the path from its leaf does not come to the root."
    numbers = given["batch"].to_bytes(8, "big") + given["leaf_count"].to_bytes(8, "big")
    sealed = bytes.fromhex(given["previous_seal"]) + numbers + bytes.fromhex(given["root"])
    if hashlib.sha256(sealed).hexdigest() != given["seal"]:
        yield f"{name}: its seal does not follow from the one before."


def expected_verdict(reports: dict[str, Any], given: dict[str, Any]) -> str:
    """What the reports allow: differences first, then what is missing."""
    different = any(report["outcome"] == "DIFFERENT" for report in reports.values())
    waits = any(report["outcome"] == "IN_FLIGHT" for report in reports.values())
    if different or given["undeclared"]:
        return "INCONSISTENT"
    return "INCOMPLETE" if given["late"] or waits else "CONSISTENT"


def leaf_of(processing_id: str, given: dict[str, Any], named: dict[str, str]) -> bytes:
    """The leaf of a verdict."""
    calls = sorted([each["caller"], each["callee"]] for each in given["undeclared"])
    reports = sorted([who, digest] for who, digest in named.items())
    content = [processing_id, given["revision"], given["verdict"], sorted(given["late"]), calls, reports]
    return hashlib.sha256(b"\x00" + plain(content)).digest()


def seal_problems(verdicts: list[dict[str, Any]], known: str) -> Iterator[str]:
    """Whether a seal that is known from elsewhere is the one in this document."""
    batch, _, value = known.partition(":")
    for given in verdicts:
        told = {given["batch"]: given["seal"], given["batch"] - 1: given["previous_seal"]}
        if told.get(int(batch), value) != value:
            yield f"The seal of batch {batch} is another one."


def good(document: dict[str, Any], whose: str) -> str:
    """What is shown of a document that holds."""
    content = document["content"]
    verdict = f"{content['verdict']} at revision {content['revision']}"
    return (
        f"{content['processing_id']}: {verdict}; signed by {whose or 'the key that it names: ' + document['key_id']}."
    )


def main() -> int:
    """0 when everything holds."""
    parser = argparse.ArgumentParser(description="Check a document of kessai's evidence.")
    parser.add_argument("file")
    parser.add_argument("--key")
    parser.add_argument("--seal")
    asked = parser.parse_args()
    document: dict[str, Any] = {}
    try:
        with open(asked.file, encoding="utf-8") as opened:
            document = json.load(opened)
        found = list(problems(document, asked.key, asked.seal))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found = [f"This is no such document: {error!r}."]
    for sentence in found or [good(document, "the key that you gave" if asked.key else "")]:
        sys.stdout.write(sentence + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
