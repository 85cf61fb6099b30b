"""The AsyncAPI 3.0 document of published events: one channel a topic, one message for each step of each kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from kessai.services.payment.api import PAST, TOPIC, Action, PaymentStateChanged, event_type
from kessai.services.payment.api.orders import ORDER_PAST, ORDER_TOPIC, OrderAction, OrderChanged
from kessai.services.payment.domain.kinds import PaymentKind, load_kinds

Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/{name}"
_PUBLISHED = f"#/channels/{TOPIC}"
_MEANINGS = {
    Action.AUTHORIZE: "the sources are held",
    Action.CAPTURE: "value is final, whole or in part",
    Action.CANCEL: "what was held is released",
    Action.EXPIRE: "its time is over; what was held is released",
    Action.REFUND: "value went back to its sources",
    Action.REFUSE: "it, or an action on it, was declined",
    Action.LOSE_TRACK: "an answer was lost and is being looked for",
    Action.REQUIRE_ACTION: "something outside has to happen first",
    Action.SEND: "the bank has it",
    Action.RETURN: "the money had left, and came back",
}


def actions_of(kind: PaymentKind) -> Iterator[Action]:
    """What can happen to a payment of a kind, in the order of `PAST`."""
    declared = {Action(action) for action in kind.actions if action != "create"}
    if "capture" in kind.actions:
        declared.add(Action.AUTHORIZE)
    if any(source.gateway for source in kind.sources.values()):
        declared.add(Action.REQUIRE_ACTION)
    if kind.pays_out:
        declared |= {Action.SEND, Action.RETURN}
    declared |= {Action.CAPTURE, Action.REFUSE, Action.LOSE_TRACK}
    return (action for action in PAST if action in declared)


def asyncapi_of(kinds: Iterable[PaymentKind]) -> Json:
    """The document."""
    types = [PaymentStateChanged, OrderChanged]
    (payload, of_order), schemas = msgspec.json.schema_components(types, ref_template=_SCHEMAS)
    orders = {f"payment.order.{past}": _order_message(action, of_order) for action, past in ORDER_PAST.items()}
    steps = [(kind, action) for kind in kinds for action in actions_of(kind)]
    names = [event_type(kind.name, action) for kind, action in steps]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "kessai events",
            "version": "1",
            "description": "Each event may arrive twice; `event_id` tells that it is the same. Fields are only added.",
        },
        "defaultContentType": "application/json",
        "channels": {
            TOPIC: {
                "address": TOPIC,
                "description": "Every step of every payment, in the order in which they were committed.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            },
            ORDER_TOPIC: {
                "address": ORDER_TOPIC,
                "description": "Every step of net orders by themselves; the rest is told of their payments.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in orders},
            },
        },
        "operations": {
            "publishPaymentSteps": {
                "action": "send",
                "channel": {"$ref": _PUBLISHED},
                "messages": [{"$ref": f"{_PUBLISHED}/messages/{name}"} for name in names],
            },
            "publishOrderSteps": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{ORDER_TOPIC}"},
                "messages": [{"$ref": f"#/channels/{ORDER_TOPIC}/messages/{name}"} for name in orders],
            },
        },
        "components": {
            "messages": {name: _message(*step, payload) for name, step in zip(names, steps, strict=True)} | orders,
            "schemas": schemas,
        },
    }


def _message(kind: PaymentKind, action: Action, payload: Json) -> Json:
    name = event_type(kind.name, action)
    constant = {"type": "object", "properties": {"type": {"const": name}, "kind": {"const": kind.name}}}
    return {"name": name, "title": f"{kind.name_ja}: {_MEANINGS[action]}", "payload": {"allOf": [payload, constant]}}


_ORDER_MEANINGS = {
    OrderAction.CREATE: "a shop asks for a payment",
    OrderAction.CONFIRM: "a customer confirms it by the payment named",
    OrderAction.CANCEL: "it was given up before it was paid",
    OrderAction.EXPIRE: "nobody confirmed it in time",
}


def _order_message(action: OrderAction, payload: Json) -> Json:
    name = f"payment.order.{ORDER_PAST[action]}"
    constant = {"type": "object", "properties": {"type": {"const": name}}}
    return {"name": name, "title": f"ネット決済: {_ORDER_MEANINGS[action]}", "payload": {"allOf": [payload, constant]}}


def asyncapi_bytes() -> bytes:
    """The document of the platform's own kinds, as it is committed."""
    return msgspec.json.format(msgspec.json.encode(asyncapi_of(load_kinds())), indent=2) + b"\n"
