"""The public contract against the running platform: no 5xx, and no answer that it does not tell of."""

# schemathesis and requests are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeStubs=false

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import Any, cast

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from kessai.apps.wiring import DOORS
from kessai.foundation.contract import verbs_of
from kessai.foundation.door.openapi import openapi_of
from tests.contracts.live import Live, live_platform, make_things

EXAMPLES = 14
"""Of each operation in each mode; 60 now and then, by hand."""
_UNCHECKED: Any = list(HealthCheck)
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
OPERATIONS = [bound.spec.name for door in DOORS for bound in verbs_of(door) if bound.spec.public]


@pytest.fixture
def live(database_url: str) -> Generator[Live]:
    with live_platform(database_url) as platform:
        yield platform


def _operations(live: Live) -> dict[str, Any]:
    document = openapi_of(DOORS)
    # A caller who waits a millisecond is rightly told 504; that is not what is looked for here.
    timeout = {"$ref": "#/components/parameters/RequestTimeout"}
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["parameters"] = [each for each in operation["parameters"] if each != timeout]
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=live.url)
    found: list[Any] = [cast("Any", result).ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_every_operation_answers_as_the_contract_tells(live: Live, mode: GenerationMode) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tool's own and its dependencies'
        operations = _operations(live)
        assert sorted(map(_verb, operations.values())) == sorted(OPERATIONS)
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {live.secret}"
            known = make_things(live)
            for operation in operations.values():
                _explore(operation, mode, session, known)


def _verb(operation: Any) -> str:
    """The verb's own name: an operation's id names the door as well where two doors share it."""
    raw = operation.definition.raw
    return raw["operationId"].removeprefix(f"{raw['tags'][0]}_")


def _explore(operation: Any, mode: GenerationMode, session: requests.Session, known: dict[str, str]) -> None:
    @seed(20260401)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=_UNCHECKED,
        print_blob=False,
    )
    @given(case=operation.as_strategy(generation_mode=mode), existing=st.booleans())
    def explore(case: Any, existing: bool) -> None:
        if existing:
            for place in (case.path_parameters, case.query, case.body):
                if isinstance(place, dict):
                    place.update({name: known[name] for name in place.keys() & known.keys()})
        answer = case.call(session=session, timeout=30)
        case.validate_response(answer, checks=CHECKS)

    explore()


def test_other_methods_are_refused_with_what_is_allowed(live: Live) -> None:
    for path, methods in openapi_of(DOORS)["paths"].items():
        concrete = path.replace("{", "").replace("}", "")
        for method in {"get", "post", "put", "patch", "delete", "trace"} - methods.keys():
            answer = requests.request(method.upper(), live.url + concrete, timeout=30)
            assert answer.status_code == 405, (method, path)
            assert {name.strip().lower() for name in answer.headers["allow"].split(",")} - {"head"} == methods.keys()
            assert answer.headers["content-type"] == "application/problem+json"
