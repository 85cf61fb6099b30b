"""The way out: calls to parties outside over HTTP, each destination on its own.

A destination that hangs holds none but its own slots and connections: each `Outbound` has its own, bounded in number
and in time. What comes back is one of four things, which are never mixed up:

| what happened | what the caller gets |
|---|---|
| surely not sent (unreachable, all slots taken, circuit open) | NotSent, an Unavailable: nothing was done |
| refused (4xx) | an Answer with `refused` true: nothing was done where its body is a documented refusal |
| answered (2xx) | an Answer |
| sent, and no usable answer (silence, a cut line, 5xx, 429, garbage) | Unanswered, an Unknown: inquire |

    bank = Outbound(Destination(name="bank", base_url="http://127.0.0.1:9901", timeout_s=5))
    answer = await bank.call("PUT", "/v1/transfers/" + transfer_id, TransferOrder(...))
    if answer.refused:
        raise Refused(answer.decode(Problem).code, ...)
    return answer.decode(TransferReceipt)       # Unanswered when it cannot be read
    await bank.close()

`safe=True` marks a call without effect (an inquiry): it is repeated after any failure, as far as time and the
destination's retry budget go. Other calls are repeated only when they were surely not sent.
"""

from kessai.foundation.outbound.breaker import Breaker, BreakerState
from kessai.foundation.outbound.bulkhead import Bulkhead
from kessai.foundation.outbound.client import Outbound
from kessai.foundation.outbound.words import Answer, Destination, NotSent, OutboundCounts, Unanswered

__all__ = [
    "Answer",
    "Breaker",
    "BreakerState",
    "Bulkhead",
    "Destination",
    "NotSent",
    "Outbound",
    "OutboundCounts",
    "Unanswered",
]
