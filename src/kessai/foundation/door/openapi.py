"""The OpenAPI 3.1 document of some doors: routes, parameters, schemas, and every answer that a verb can give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from kessai.foundation.contract import BoundVerb, Message, verbs_of
from kessai.foundation.door.admission import TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX, body_bytes_max
from kessai.foundation.door.problem import PROBLEM_TYPE
from kessai.foundation.door.requests import body_message, path_fields, rest_fields, takes_body
from kessai.foundation.door.shape import Field, Kind, field_notes, fields_of, messages_under

Json: TypeAlias = dict[str, Any]

API_VERSION = "1"
_SCHEMAS = "#/components/schemas/"
_FORMATS = {Kind.INTEGER: ("integer", "int64"), Kind.INSTANT: ("string", "date-time"), Kind.DATE: ("string", "date")}

_DOOR_CODES: dict[int, tuple[str, ...]] = {
    400: ("invalid_request", "unknown_field", "missing_field"),
    401: ("missing_api_key", "invalid_api_key"),
    403: ("missing_scope",),
    404: (),
    409: (),
    413: ("body_too_large",),
    415: ("unsupported_media_type",),
    422: (),
    500: ("internal_error",),
    503: ("database_unavailable", "overloaded"),
    504: ("deadline_exceeded",),
}
_OWN_STATUSES = frozenset({400, 404, 409, 422})
_CLOSED_STATUSES = frozenset({401, 413, 415, 500})
_BODY_CODES = ("malformed_json", "duplicate_key", "too_deep")
_TITLES = {
    400: "The request can never be right as it stands.",
    401: "No valid API key came with the request.",
    403: "The API key lacks the scope, or may not act as the request wants.",
    404: "What the request names does not exist.",
    409: "The request contradicts something that happened or is happening.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "A rule of the business declines the request, or an idempotency key came back with other content.",
    500: "A fault of the platform's own; the outcome is not known.",
    503: "Nothing was done; the same request may be sent again.",
    504: "No answer in time; send the request again with the same Idempotency-Key.",
}


def openapi_bytes(doors: Sequence[type]) -> bytes:
    """The document as readable JSON, always the same for the same doors."""
    return msgspec.json.format(msgspec.json.encode(openapi_of(doors)), indent=2) + b"\n"


def openapi_of(doors: Sequence[type]) -> Json:
    """The document of the public verbs of these doors."""
    bounds = [(door, bound) for door in doors for bound in verbs_of(door) if bound.spec.public]
    schemas = _Schemas([bound for _, bound in bounds])
    paths: dict[str, Json] = {}
    names: set[str] = set()
    for door, bound in bounds:
        operation = _operation(door, bound, schemas)
        if bound.spec.name in names:  # another door had it first, and clients know it by that
            operation["operationId"] = f"{door.__name__}_{bound.spec.name}"
        names.add(bound.spec.name)
        paths.setdefault(bound.spec.path, {})[bound.spec.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "tags": [{"name": door.__name__, "description": (door.__doc__ or "").strip()} for door in doors],
        "paths": paths,
        "components": {
            "securitySchemes": {"apiKey": _SECURITY},
            "parameters": _PARAMETERS,
            "headers": _HEADERS,
            "responses": {
                str(status): _refusal(status, codes, _REQUEST_ID_HEADER)
                for status, codes in _DOOR_CODES.items()
                if status not in _OWN_STATUSES
            },
            "schemas": {**schemas.components, "Problem": _PROBLEM},
        },
    }


class _Schemas:
    """JSON schemas of all messages, made in one go so that each has one name."""

    def __init__(self, bounds: Sequence[BoundVerb]) -> None:
        roots = [kind for bound in bounds for kind in (_input(bound), bound.response)]
        messages = messages_under([*roots, *(bound.request for bound in bounds)])
        parameters = [field.type for bound in bounds for field in _parameter_fields(bound)]
        found, components = msgspec.json.schema_components([*messages, *parameters], ref_template=_SCHEMAS + "{name}")
        self._refs: dict[object, Json] = dict(zip(messages, found[: len(messages)], strict=True))
        notes = {body_message(bound): field_notes(bound.request) for bound in bounds if takes_body(bound)}
        used = {kind: self._refs[kind]["$ref"].removeprefix(_SCHEMAS) for kind in messages_under(roots)}
        for message, name in used.items():
            _annotate(components[name], message, notes.get(message) or field_notes(message))
        enums = {name: schema for name, schema in components.items() if "enum" in schema}
        self.components: Json = {**{name: components[name] for name in used.values()}, **enums}

    def of(self, message: type[Message]) -> Json:
        """A reference to a message's schema."""
        return self._refs[message]


def _input(bound: BoundVerb) -> type[Message]:
    """The message whose schema the operation shows: the body, or nothing but the answer."""
    return body_message(bound) if takes_body(bound) else bound.response


def _parameter_fields(bound: BoundVerb) -> list[Field]:
    in_path = path_fields(bound)
    fields = {field.name: field for field in fields_of(bound.request)}
    return [fields[name] for name in in_path] + ([] if takes_body(bound) else rest_fields(bound))


def _annotate(schema: Json, message: type[Message], notes: dict[str, str]) -> None:
    for field in fields_of(message):
        found = schema["properties"][field.name]
        _add_format(found, field)
        if field.name in notes:
            # A description beside $ref is allowed in OpenAPI 3.1.
            schema["properties"][field.name] = {**found, "description": notes[field.name]}


def _add_format(schema: Json, field: Field) -> None:
    kind, text = _FORMATS.get(field.kind, ("", ""))
    if schema.get("type") == kind:
        schema["format"] = text
    for inner in (*schema.get("anyOf", ()), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            _add_format(inner, field)  # pyright: ignore[reportUnknownArgumentType]


# -- one operation ----------------------------------------------------------------------------------------------


def _operation(door: type, bound: BoundVerb, schemas: _Schemas) -> Json:
    spec = bound.spec
    operation: Json = {
        "operationId": spec.name,
        "tags": [door.__name__],
        "summary": spec.summary,
        "description": _description(bound),
        "security": [{"apiKey": [spec.scope]}],
        "parameters": _parameters(bound),
    }
    if takes_body(bound) and rest_fields(bound):
        operation["requestBody"] = {
            "required": any(field.required for field in rest_fields(bound)),
            "content": {"application/json": {"schema": schemas.of(body_message(bound))}},
        }
    operation["responses"] = _responses(bound, schemas)
    if spec.errors:
        operation["x-error-codes"] = list(spec.errors)
    return operation


def _description(bound: BoundVerb) -> str:
    spec = bound.spec
    parts = [f"Scope: `{spec.scope}`."]
    if takes_body(bound):
        parts.append(f"Body: at most {body_bytes_max(spec) // 1024 // 1024} MiB.")
    if spec.stream:
        parts.append("Answers one JSON object a line; an answer that is cut short is not whole.")
    if spec.errors:
        codes = ", ".join(f"`{code}`" for code in spec.errors)
        parts.append(f"Error codes of its own, in order of precedence: {codes}.")
    return " ".join(parts)


def _parameters(bound: BoundVerb) -> list[Json]:
    in_path = path_fields(bound)
    notes = field_notes(bound.request)
    found = [_parameter(field, in_path, notes) for field in _parameter_fields(bound)]
    if bound.spec.moves_value:
        found.append({"$ref": "#/components/parameters/RequiredIdempotencyKey"})
    elif bound.spec.method != "GET":
        found.append({"$ref": "#/components/parameters/IdempotencyKey"})
    found.append({"$ref": "#/components/parameters/RequestId"})
    if not bound.spec.stream:
        found.append({"$ref": "#/components/parameters/RequestTimeout"})
    return found


def _parameter(field: Field, in_path: tuple[str, ...], notes: dict[str, str]) -> Json:
    ((schema,), components) = msgspec.json.schema_components([field.type], ref_template=_SCHEMAS + "{name}")
    del components  # enumerations are among the document's own
    # A parameter is either there or not: it has no way to say null.
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    schema = options[0] if len(options) == 1 else schema
    _add_format(schema, field)
    if field.default not in (None, msgspec.NODEFAULT):
        schema["default"] = field.default
    where = "path" if field.name in in_path else "query"
    parameter: Json = {"name": field.name, "in": where, "required": where == "path" or field.required, "schema": schema}
    if field.name in notes:
        parameter["description"] = notes[field.name]
    return parameter


def _responses(bound: BoundVerb, schemas: _Schemas) -> Json:
    spec = bound.spec
    media = "application/x-ndjson" if spec.stream else "application/json"
    headers = dict(_REQUEST_ID_HEADER)
    if spec.moves_value:
        headers["Idempotent-Replayed"] = {"$ref": "#/components/headers/Idempotent-Replayed"}
    responses: Json = {
        str(spec.status): {
            "description": (bound.response.__doc__ or "The answer.").strip(),
            "headers": headers,
            "content": {media: {"schema": schemas.of(bound.response)}},
        }
    }
    for status in _statuses(bound):
        shared = {"$ref": f"#/components/responses/{status}"}
        own = status in _OWN_STATUSES
        responses[str(status)] = _refusal(status, _codes(status, bound), headers) if own else shared
    return responses


def _refusal(status: int, codes: Sequence[str], headers: Json) -> Json:
    """One problem answer. Codes are closed where only the door answers so; elsewhere a verb may add its own."""
    properties: Json = {"status": {"const": status}}
    if codes:
        properties["code"] = {"type": "string", "enum" if status in _CLOSED_STATUSES else "examples": list(codes)}
    schema = {"allOf": [{"$ref": _SCHEMAS + "Problem"}, {"properties": properties}]}
    return {"description": _TITLES[status], "headers": headers, "content": {PROBLEM_TYPE: {"schema": schema}}}


def _statuses(bound: BoundVerb) -> list[int]:
    """Which refusals a verb can answer with."""
    spec, changes = bound.spec, bound.spec.method != "GET"
    missing = any(code.endswith("not_found") for code in spec.errors)
    other = any(not code.endswith("not_found") for code in spec.errors)
    applies = {
        404: missing or bool(path_fields(bound)),
        409: changes or other,
        413: takes_body(bound),
        415: takes_body(bound),
        422: changes or other,
        504: not spec.stream,
    }
    return [status for status in _DOOR_CODES if applies.get(status, True)]


def _codes(status: int, bound: BoundVerb) -> list[str]:
    """The stable codes that a verb may give with a status: the door's, then its own in order of precedence."""
    codes = list(_DOOR_CODES[status])
    changes = bound.spec.method != "GET"
    if status == 400:
        codes += _BODY_CODES if takes_body(bound) else ()
        codes += ("idempotency_key_missing",) if bound.spec.moves_value else ()
        codes += ("idempotency_key_malformed",) if changes else ()
    if status == 409 and changes:
        codes.append("request_in_progress")
    if status == 422 and bound.spec.moves_value:
        codes.append("idempotency_key_reused")
    return codes + [code for code in bound.spec.errors if code.endswith("not_found") == (status == 404)]


# -- fixed parts ------------------------------------------------------------------------------------------------

_INFO: Json = {
    "title": "kessai",
    "version": API_VERSION,
    "summary": "An open payment platform: every yen moves through one ledger.",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
_SECURITY: Json = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key: `Authorization: Bearer kes_…`. The roles of an operation are the scopes it needs.",
}
_KEY_SCHEMA: Json = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-\\[\\]-~]+$"}
_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Chosen by the caller, scoped to API key and route. Sent again with the same content it gives the "
    "stored answer with `Idempotent-Replayed: true`; with other content, 422 `idempotency_key_reused`.",
    "schema": _KEY_SCHEMA,
    "example": "order-20260401-0001",
}
_PARAMETERS: Json = {
    "RequiredIdempotencyKey": {**_KEY, "required": True},
    "IdempotencyKey": {**_KEY, "required": False},
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "description": "The caller's name for this request, returned on the answer; one that is not well-formed is "
        "replaced by a fresh one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
    },
    "RequestTimeout": {
        "name": "X-Request-Timeout-Ms",
        "in": "header",
        "required": False,
        "description": "How long the caller waits. Past it the answer is 504 `deadline_exceeded`, while the work "
        "itself is carried to its end.",
        "schema": {"type": "integer", "minimum": 1, "maximum": TIMEOUT_MS_MAX, "default": TIMEOUT_MS_DEFAULT},
    },
}
_HEADERS: Json = {
    "X-Request-Id": {"description": "Quote it when you report a problem.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` when this is the stored answer of an earlier request with the same key.",
        "schema": {"type": "string", "const": "true"},
    },
}
_REQUEST_ID_HEADER: Json = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
_PROBLEM: Json = {
    "title": "Problem",
    "description": "Problem details (RFC 9457). `code` is stable; `field` is the JSON path of what is wrong.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "retryable": {"type": "boolean", "description": "Whether the same request may be sent again."},
        "request_id": {"type": "string"},
        "field": {"type": "string", "examples": ["$.sources[0].amount_minor"]},
    },
    "required": ["type", "title", "status", "detail", "code", "retryable", "request_id"],
}
