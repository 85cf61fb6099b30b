"""What the door tells of authorizations. Nothing here changes anything."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, NotFound
from kessai.foundation.ids import bare
from kessai.services.nfc.api import authorizations as api
from kessai.services.nfc.domain.authorization import ASSET, Authorization
from kessai.services.nfc.store import authorizations as store

NAME_CHARACTERS = 25
DOUBTS_MAX = 1_000
_EPOCH = datetime.fromtimestamp(0, UTC)


class AuthorizationLookups:
    """Reads of the journal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_id_authorization(self, request: api.GetAuthorization, /) -> api.Authorization:
        """An authorization."""
        return told(await self._row(request.authorization_id))

    async def list_id_authorizations(self, request: api.ListAuthorizations, /) -> api.AuthorizationPage:
        """A customer's authorizations, newest first."""
        before = store.NEWEST if request.cursor is None else _position(request.cursor)
        ids = await store.of_customer(self._database, request.customer_id, before, request.limit + 1)
        page = await self._in_order(ids[: request.limit])
        more = len(ids) > request.limit
        return api.AuthorizationPage(
            authorizations=[told(each) for each in page], next_cursor=_cursor(page[-1]) if more else None
        )

    async def list_reversals(self, request: api.GetAuthorization, /) -> api.AuthorizationReversals:
        """The messages that took an authorization back."""
        row = await self._row(request.authorization_id)
        found = await store.reversals(self._database, [row.authorization_id])
        return api.AuthorizationReversals(
            reversals=[
                api.AuthorizationReversal(
                    mti=each.mti, stands_minor=each.stands_minor, response=each.response, recorded_at=each.recorded_at
                )
                for each in found
            ]
        )

    async def list_open_authorizations(self, request: api.ListOpenAuthorizations, /) -> api.AuthorizationPage:
        """What still has to be brought to an end, longest open first."""
        found = await store.open_work(self._database, store.NEWEST[0], store.OLDEST, request.limit)
        page = await self._in_order([each for _, each in found])
        return api.AuthorizationPage(authorizations=[told(each) for each in page])

    async def doubt(self) -> tuple[int, float]:
        """Of how many authorizations something is still to be done (DOUBTS_MAX are counted), and since how many seconds
        (real time) of the oldest.
        """
        found = await store.open_work(self._database, store.NEWEST[0], store.OLDEST, DOUBTS_MAX)
        oldest_s = (datetime.now(UTC) - found[0][0]).total_seconds() if found else 0.0
        return len(found), max(0.0, oldest_s)

    async def _row(self, authorization_id: str) -> Authorization:
        found = await store.load(self._database, [bare(authorization_id)])
        if not found:
            raise NotFound(
                "id_authorization_not_found", "There is no such authorization.", authorization_id=authorization_id
            )
        return next(iter(found.values()))

    async def _in_order(self, ids: list[str]) -> list[Authorization]:
        found = await store.load(self._database, ids)
        return [found[each] for each in ids]


def told(row: Authorization) -> api.Authorization:
    """An authorization as the door tells it."""
    return api.Authorization(
        authorization_id=f"ath_{row.authorization_id}",
        message_key=row.message_key,
        kind=row.kind,
        state=row.state,
        customer_id=row.customer_id,
        card_id=row.card_id,
        device_id=row.device_id,
        last_four=row.last_four,
        amount_minor=row.amount_minor,
        stands_minor=row.stands_minor,
        asset=ASSET,
        category=row.category,
        mcc=row.mcc,
        merchant=row.merchant,
        merchant_name=row.place[:NAME_CHARACTERS].strip(),
        response=row.response,
        approval_code=row.approval_code,
        refusal_code=row.refusal_code,
        stood_in=row.stood_in,
        open_work=row.work and row.work.value,
        payment_id=row.payment_id,
        processing_id=row.processing_id,
        received_at=row.received_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def _cursor(row: Authorization) -> str:
    at = (row.received_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(at.to_bytes(8) + bytes.fromhex(row.authorization_id)).decode()


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        data = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True)
        if len(data) == 24:
            return _EPOCH + timedelta(microseconds=int.from_bytes(data[:8])), data[8:].hex()
    except (ValueError, OverflowError):
        pass
    raise Invalid("bad_cursor", "The cursor is not one that this list gave.")
