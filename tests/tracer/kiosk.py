"""Another team's service: takes part with plain grpcio and the stubs that protoc makes of the emitted files.

    python kiosk.py STUBS TARGET API_KEY PROCESSING_ID REMEMBERED_MINOR [DEPENDENCY …]

It gives a customer 500 points through the ledger, announces the processing, and reports on it once it is asked.
It knows nothing of kessai's code. REMEMBERED_MINOR is what it believes to have given; the DEPENDENCIES are whom it
names: an honest kiosk names the ledger.
"""

# The stubs are made while the test runs.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
# pyright: reportMissingParameterType=false, reportMissingTypeArgument=false

from __future__ import annotations

import hashlib
import json
import sys

STUBS, TARGET, API_KEY, PROCESSING_ID, REMEMBERED_MINOR, *DEPENDENCIES = sys.argv[1:]
sys.path.insert(0, STUBS)

import grpc  # noqa: E402
import ledger_pb2  # noqa: E402
import ledger_pb2_grpc  # noqa: E402
import tracer_pb2  # noqa: E402
import tracer_pb2_grpc  # noqa: E402

NAME, CUSTOMER, GIVEN_MINOR = "kiosk", "cus:walk-in", 500


def give(ledger):
    """The effect: 500 points, in the processing that begins here. Gives the exchange's id."""
    request = ledger_pb2.CreateExchange(
        sources=[ledger_pb2.Leg(amount_minor=GIVEN_MINOR, asset="JPY", owner="bank", account_type="deposit")],
        targets=[ledger_pb2.Leg(amount_minor=GIVEN_MINOR, asset="JPY", owner=CUSTOMER, account_type="free_points")],
        kind="gift",
    )
    metadata = (
        ("authorization", f"Bearer {API_KEY}"),
        ("idempotency-key", PROCESSING_ID),
        ("processing-id", PROCESSING_ID),
    )
    return ledger.CreateExchange(request, metadata=metadata).exchange_id


def differences(exchange_id, theirs):
    """What the ledger did and what the kiosk remembers, compared both ways."""
    claims = {(exchange_id, "bank"): -int(REMEMBERED_MINOR), (exchange_id, CUSTOMER): int(REMEMBERED_MINOR)}
    found = []
    for record in theirs:
        claimed = claims.pop((record.effect_id, record.party), None)
        if claimed == record.amount_minor and record.state == "CAPTURED":
            continue
        kind = "missing_at_caller" if claimed is None else "differs"
        found.append(
            tracer_pb2.Difference(
                dependency="ledger",
                kind=kind,
                effect_id=record.effect_id,
                part=record.part,
                fields=[] if claimed is None else ["amount_minor"],
                theirs=tracer_pb2.EffectRecord.FromString(record.SerializeToString()),
            )
        )
    found += [
        tracer_pb2.Difference(dependency="ledger", kind="missing_at_callee", effect_id=exchange_id) for _ in claims
    ]
    return found


def report(notice, exchange_id, theirs):
    """The kiosk's own effect with its digest, and what differs."""
    own = {
        "effect_id": f"kiosk:{PROCESSING_ID}",
        "part": "",
        "kind": "gift",
        "party": CUSTOMER,
        "account": None,
        "asset": "JPY",
        "amount_minor": GIVEN_MINOR,
        "captured_minor": 0,
        "returned_minor": 0,
        "state": "DONE",
        "at": None,
    }
    canonical = json.dumps(own, separators=(",", ":"), ensure_ascii=False).encode()
    found = differences(exchange_id, theirs) if DEPENDENCIES else []
    return tracer_pb2.ConsistencyReport(
        processing_id=notice.processing_id,
        revision=notice.revision,
        outcome="DIFFERENT" if found else "MATCHED",
        effects=[tracer_pb2.EffectRecord(**{key: value for key, value in own.items() if value is not None})],
        digest=hashlib.sha256(canonical).hexdigest(),
        dependencies=DEPENDENCIES,
        callers=["key_of_a_walk_in"],
        differences=found,
    )


def main():
    """One processing, from its effect to the report on it."""
    metadata = (("authorization", f"Bearer {API_KEY}"),)
    with grpc.insecure_channel(TARGET) as channel:
        ledger, tracer = ledger_pb2_grpc.LedgerStub(channel), tracer_pb2_grpc.TracerStub(channel)
        exchange_id = give(ledger)
        begun = tracer_pb2.Announce(participant=NAME, processing_ids=[PROCESSING_ID], entry=True)
        tracer.Announce(begun, metadata=metadata)
        reported = False
        while not reported:
            asked = tracer_pb2.PullNotices(participant=NAME, wait_ms=2_000)
            pulled = tracer.PullNotices(asked, metadata=metadata)
            if not pulled.notices:
                continue
            ids = [notice.processing_id for notice in pulled.notices]
            page = ledger.ListEffects(ledger_pb2.ListEffects(processing_ids=ids, caller=NAME), metadata=metadata)
            theirs = {each.processing_id: each.effects for each in page.processings}
            reports = [report(each, exchange_id, theirs.get(each.processing_id, [])) for each in pulled.notices]
            sent = tracer_pb2.SendReports(participant=NAME, position=pulled.position, reports=reports)
            tracer.SendReports(sent, metadata=metadata)
            asked_of = tracer_pb2.GetProcessing(processing_id=PROCESSING_ID)
            shown = tracer.GetProcessing(asked_of, metadata=metadata)
            reported = set(shown.participants) == {"kiosk", "ledger"}


main()
