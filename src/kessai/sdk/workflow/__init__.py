"""Durable workflows: ordinary async functions whose every step is journalled, so that a crash loses nothing.

A workflow is a deterministic module-level function; whatever touches the world is an activity. The journal lives in
the service's own schema (SchemaSpec components: `kessai.foundation.events` and `kessai.sdk.workflow`) and is
group-committed. A workflow with one activity costs two flushes: one that starts it (with the service's own rows) and
one that finishes it (with its rows and events).

    @define("payment.charge.create", version=1)
    async def create_charge(wf: Workflow[Deps], request: CreateCharge) -> Charge:
        exchange = await wf.activity(pay, PayArgument(...), compensate=void)
        wf.record(Write(MARK_AUTHORIZED, (request.payment_id, wf.now())))
        wf.publish("payment.charge", ChargeAuthorized(...))
        return Charge(...)

    async def pay(activity: Activity[Deps], argument: PayArgument) -> Exchange:
        return await activity.deps.ledger.create_exchange(...)       # idempotent by activity.key

    engine = Engine(database, service="payment", deps=deps, clock=clock)
    await engine.open()
    handle = await engine.start(create_charge, request, workflow_id=key, writes=[Write(INSERT_PAYMENT, row)])
    charge = await handle.result()

What may be relied on:
- `start` is durable, with its writes, before it returns. The same id and content attach; other content is KeyReused.
- The outcome of an activity is one of done, refused, unknown. Retryable errors are tried again under the same key,
  without limit unless `Retry` or a deadline limits them; an unknown outcome is never taken for a failure.
- A refusal that leaves the function undoes, in reverse order, every compensable activity that was attempted; then it
  is stored and replayed to whoever asks again. Another exception parks the workflow for an operator.
- Branches (`asyncio.gather`, a TaskGroup) may have steps of their own: a step's number is its place, not its turn.
- A sleep, a wait for a signal and a child outlive every crash; so do cancel, pause and messages not yet taken.
- A compensation that cannot be made parks the workflow and alerts; an operator retries, skips or resolves it, and who
  did so and why is kept.
- Inside an activity `current_call().request_key` is derived from `activity.key`, so that verbs of other doors called
  from it are idempotent of themselves; `caller` is the service, `processing_id` that of the starting call.
"""

from kessai.sdk.workflow.definition import Definition, define
from kessai.sdk.workflow.engine import Engine
from kessai.sdk.workflow.handle import Handle
from kessai.sdk.workflow.host import Counts
from kessai.sdk.workflow.messages import Update
from kessai.sdk.workflow.metrics import WorkflowMetrics
from kessai.sdk.workflow.model import (
    Activity,
    Alert,
    AlreadyStarted,
    Cancelled,
    Conflicted,
    Forgotten,
    NotOpen,
    Parked,
    Publish,
    Retry,
    SignalTimedOut,
    StartUnknown,
    Terminated,
    Write,
)
from kessai.sdk.workflow.operate import Operator
from kessai.sdk.workflow.queues import Queue
from kessai.sdk.workflow.retention import Retention, Retired, retire
from kessai.sdk.workflow.run import Workflow
from kessai.sdk.workflow.schedules import Schedule
from kessai.sdk.workflow.sealing import Codec

__all__ = [
    "Activity",
    "Alert",
    "AlreadyStarted",
    "Cancelled",
    "Codec",
    "Conflicted",
    "Counts",
    "Definition",
    "Engine",
    "Forgotten",
    "Handle",
    "NotOpen",
    "Operator",
    "Parked",
    "Publish",
    "Queue",
    "Retention",
    "Retired",
    "Retry",
    "Schedule",
    "SignalTimedOut",
    "StartUnknown",
    "Terminated",
    "Update",
    "Workflow",
    "WorkflowMetrics",
    "Write",
    "define",
    "retire",
]
