"""Approval by a second person: who may give it, for what, how long, and that it is used once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from datetime import timedelta

import asyncpg
import pytest

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Database, role_of
from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_id
from kessai.services.identity.api import (
    Approval,
    ApprovalState,
    ApproveApproval,
    ConsumeApproval,
    CreateKey,
    GetApproval,
    ListApprovals,
    RejectApproval,
    RequestApproval,
    Scope,
    ShareHands,
    content_digest,
)
from kessai.services.identity.service import IdentityService

ANNA, BEN, CARL = ("key_" + digit * 32 for digit in "123")
CONTENT = CreateKey(name="what is to be done", scopes=[Scope.LEDGER_READ])
DIGEST = content_digest(CONTENT)
S = ApprovalState


@pytest.fixture
def clock() -> SandboxClock:
    return SandboxClock()


@pytest.fixture
async def identity(database: Database, clock: SandboxClock) -> AsyncIterator[IdentityService]:
    service = IdentityService(database, clock)
    yield service
    await service.close()


@contextmanager
def caller(name: str) -> Generator[None]:
    token = enter_call(Call(caller=name))
    try:
        yield
    finally:
        leave_call(token)


def _wanted(approval_id: str | None = None, *, reason: str = "wrong amount") -> RequestApproval:
    return RequestApproval(
        subject="customer:1",
        action="payment.adjustment",
        content_sha256=DIGEST,
        reason=reason,
        lifetime_s=3600,
        approval_id=approval_id,
    )


async def _asked(identity: IdentityService, by: str = ANNA) -> Approval:
    with caller(by):
        return await identity.request_approval(_wanted())


async def _approve(identity: IdentityService, approval: Approval, by: str = BEN, digest: str = DIGEST) -> Approval:
    with caller(by):
        return await identity.approve(ApproveApproval(approval_id=approval.approval_id, content_sha256=digest))


async def _use(identity: IdentityService, approval: Approval, consumer_id: str = "adj_1", **other: str) -> Approval:
    content = {"subject": "customer:1", "action": "payment.adjustment", "content_sha256": DIGEST} | other
    with caller("payment"):
        return await identity.consume_approval(
            ConsumeApproval(approval_id=approval.approval_id, consumer_id=consumer_id, **content)
        )


async def _code(work: object) -> str:
    with pytest.raises(PaymentError) as caught:
        await work  # pyright: ignore[reportGeneralTypeIssues]
    return caught.value.code


async def test_another_person_approves_and_it_is_used_once(identity: IdentityService) -> None:
    asked = await _asked(identity)
    assert (asked.state, asked.requested_by) == (S.REQUESTED, ANNA)
    given = await _approve(identity, asked)
    assert (given.state, given.approved_by) == (S.APPROVED, BEN)
    used = await _use(identity, asked)
    assert (used.state, used.consumer_id) == (S.CONSUMED, "adj_1")
    assert await _code(_use(identity, asked, "adj_2")) == "approval_consumed"


async def test_every_step_is_kept_with_who_and_why(identity: IdentityService) -> None:
    asked = await _asked(identity)
    await _approve(identity, asked)
    await _use(identity, asked)
    found = await identity.get_approval(GetApproval(approval_id=asked.approval_id))
    assert [(step.state, step.by, step.reason) for step in found.steps] == [
        (S.REQUESTED, ANNA, "wrong amount"),
        (S.APPROVED, BEN, None),
        (S.CONSUMED, "payment", None),
    ]


async def test_using_it_again_for_the_same_act_gives_the_same_answer(
    identity: IdentityService, clock: SandboxClock
) -> None:
    asked = await _asked(identity)
    await _approve(identity, asked)
    first = await _use(identity, asked)
    clock.advance(timedelta(days=2))
    assert await _use(identity, asked) == first


async def test_of_many_acts_at_once_one_uses_it(identity: IdentityService) -> None:
    asked = await _asked(identity)
    await _approve(identity, asked)
    outcomes = await asyncio.gather(
        *(_use(identity, asked, f"adj_{number}") for number in range(6)), return_exceptions=True
    )
    used = [each for each in outcomes if isinstance(each, Approval)]
    refused = [each.code for each in outcomes if isinstance(each, PaymentError)]
    assert (len(used), refused) == (1, ["approval_consumed"] * 5)


async def test_nobody_approves_what_he_asked_for(identity: IdentityService) -> None:
    asked = await _asked(identity)
    assert await _code(_approve(identity, asked, by=ANNA)) == "approver_is_requester"


async def test_a_key_that_the_requester_made_is_no_second_person(identity: IdentityService) -> None:
    with caller("internal"):
        anna = (await identity.create_key(CreateKey(name="anna", scopes=[Scope.IDENTITY_ADMIN]))).key.key_id
    with caller(anna):
        straw = (await identity.create_key(CreateKey(name="straw", scopes=[Scope.IDENTITY_ADMIN]))).key.key_id
    with caller(straw):
        puppet = (await identity.create_key(CreateKey(name="puppet", scopes=[Scope.APPROVAL_APPROVE]))).key.key_id
    asked = await _asked(identity, by=anna)
    assert await _code(_approve(identity, asked, by=straw)) == "approver_not_independent"
    assert await _code(_approve(identity, asked, by=puppet)) == "approver_not_independent"


async def test_one_person_with_several_keys_is_no_second_person(identity: IdentityService) -> None:
    async def made(by: str) -> str:
        with caller(by):
            scopes = [Scope.IDENTITY_ADMIN, Scope.APPROVAL_REQUEST, Scope.APPROVAL_APPROVE]
            return (await identity.create_key(CreateKey(name="of " + by[:8], scopes=scopes))).key.key_id

    anna, carl = await made("internal"), await made("internal")
    left, right = await made(anna), await made(anna)
    for requester, approver in ((left, anna), (left, right), (right, await made(left))):
        asked = await _asked(identity, by=requester)
        assert await _code(_approve(identity, asked, by=approver)) == "approver_not_independent"
    asked = await _asked(identity, by=left)
    assert (await _approve(identity, asked, by=await made(carl))).state is S.APPROVED
    asked_of = ShareHands(key_id=left, others=[anna, carl, right, await made(carl)])
    assert (await identity.share_hands(asked_of)).key_ids == [anna, right]


async def test_it_cannot_be_used_before_it_is_approved(identity: IdentityService) -> None:
    assert await _code(_use(identity, await _asked(identity))) == "approval_not_approved"


async def test_it_cannot_be_used_for_anything_else(identity: IdentityService) -> None:
    asked = await _asked(identity)
    await _approve(identity, asked)
    for other in ({"subject": "customer:2"}, {"action": "payment.charge"}, {"content_sha256": "0" * 64}):
        assert await _code(_use(identity, asked, **other)) == "approval_content_differs"


async def test_approving_other_content_than_was_asked_for_is_refused(identity: IdentityService) -> None:
    asked = await _asked(identity)
    assert await _code(_approve(identity, asked, digest="0" * 64)) == "approval_content_differs"


async def test_past_its_time_it_is_neither_approved_nor_used(identity: IdentityService, clock: SandboxClock) -> None:
    asked, given = await _asked(identity), await _asked(identity)
    await _approve(identity, given)
    clock.advance(timedelta(hours=1))
    assert await _code(_approve(identity, asked)) == "approval_expired"
    assert await _code(_use(identity, given)) == "approval_expired"
    listed = await identity.list_approvals(ListApprovals(state=S.EXPIRED))
    assert {each.approval_id for each in listed.approvals} == {asked.approval_id, given.approval_id}
    assert (await identity.list_approvals(ListApprovals(state=S.APPROVED))).approvals == []


async def test_what_is_rejected_cannot_be_approved_or_used(identity: IdentityService) -> None:
    asked, given = await _asked(identity), await _asked(identity)
    await _approve(identity, given)
    with caller(CARL):
        for each in (asked, given, given):
            turned_down = await identity.reject(RejectApproval(approval_id=each.approval_id, reason="no"))
            assert turned_down.state is S.REJECTED
    assert await _code(_approve(identity, asked)) == "approval_not_open"
    assert await _code(_use(identity, given)) == "approval_not_approved"


async def test_what_was_used_cannot_be_rejected(identity: IdentityService) -> None:
    asked = await _asked(identity)
    await _approve(identity, asked)
    await _use(identity, asked)
    with caller(CARL):
        reject = identity.reject(RejectApproval(approval_id=asked.approval_id, reason="no"))
        assert await _code(reject) == "approval_not_open"


async def test_approving_again_by_the_same_key_changes_nothing(identity: IdentityService) -> None:
    asked = await _asked(identity)
    assert await _approve(identity, asked) == await _approve(identity, asked)
    assert await _code(_approve(identity, asked, by=CARL)) == "approval_not_open"


async def test_a_repeated_request_is_the_same_approval(identity: IdentityService) -> None:
    request = _wanted(new_id("apv"))
    with caller(ANNA):
        assert await identity.request_approval(request) == await identity.request_approval(request)
        other = identity.request_approval(_wanted(request.approval_id, reason="another"))
        assert await _code(other) == "approval_id_reused"


async def test_an_unknown_approval_is_not_found(identity: IdentityService) -> None:
    missing = "apv_" + "0" * 32
    assert await _code(identity.get_approval(GetApproval(approval_id=missing))) == "approval_not_found"


async def test_approvals_are_listed_newest_first_page_by_page(identity: IdentityService) -> None:
    made = [(await _asked(identity)).approval_id for _ in range(5)]
    found: list[str] = []
    cursor = None
    while True:
        page = await identity.list_approvals(ListApprovals(limit=2, cursor=cursor))
        found += [each.approval_id for each in page.approvals]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == made[::-1]
    assert await _code(identity.list_approvals(ListApprovals(cursor="made-up"))) == "bad_cursor"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM identity.approval",
        "UPDATE identity.approval SET requested_by = 'x'",
        "UPDATE identity.approval_step SET acted_by = 'x'",
        "DELETE FROM identity.approval_step",
    ],
)
async def test_the_history_cannot_be_rewritten_by_the_service(database: Database, statement: str) -> None:
    pool = await database.pool(role_of("identity"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(statement)


def test_the_digest_stands_for_the_content() -> None:
    assert content_digest(CONTENT) == DIGEST
    assert content_digest(CreateKey(name="something else", scopes=[Scope.LEDGER_READ])) != DIGEST
