"""What a key may do travels with its call, for services whose verbs do more for some than for others."""

from __future__ import annotations

import pytest

from kessai.foundation.call import Call
from kessai.foundation.contract import verbs_of
from kessai.foundation.door.admission import admit
from kessai.foundation.door.principal import Principal
from kessai.foundation.errors import Forbidden
from kessai.services.identity.api import Identity


async def _known(secret: str) -> Principal:
    return Principal(f"key_{secret}", frozenset({"identity:admin"}))


async def test_a_keys_scopes_go_with_its_call_and_the_platform_needs_none() -> None:
    spec = next(bound.spec for bound in verbs_of(Identity) if bound.spec.name == "list_keys")
    call = await admit(spec, _known, authorization="Bearer x", idempotency_key=None, processing_id=None, request_id="1")
    call.require("identity:admin")
    with pytest.raises(Forbidden) as refused:
        call.require("settlement:move")
    assert (refused.value.code, refused.value.details) == ("missing_scope", {"scope": "settlement:move"})
    Call().require("settlement:move")
