"""The two verbs that settlement lives on, answered from memory once the database has said that it still holds.

What is remembered of a merchant carries the merchant's version, which every change raises: a question costs one look at
the versions, and only what has changed is read anew, whichever process changed it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from kessai.foundation.db import Connection, Database
from kessai.services.merchant.api import (
    ResolveTerms,
    SettlementTermsAnswers,
    SettlementTermsOf,
    TermsAnswers,
    TermsQuestion,
)
from kessai.services.merchant.domain.standing import Standing, end_of, settlement_terms_of, terms_of
from kessai.services.merchant.store import ROLE, changes, master

MERCHANTS_REMEMBERED_MAX = 20_000


class Memory:
    """The merchants asked about most recently."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Standing] = OrderedDict()

    async def standings(self, connection: Connection, merchant_ids: Iterable[str]) -> dict[str, Standing]:
        """Those of the merchants that exist, as they are in the database now."""
        versions = await changes.versions(connection, list(merchant_ids))
        stale = [
            each
            for each, version in versions.items()
            if (known := self._known.get(each)) is None or known.version < version
        ]
        fresh = await changes.standings(connection, stale) if stale else {}
        found = {each: fresh.get(each) or self._known[each] for each in versions}
        self._remember(found)
        return found

    def _remember(self, found: dict[str, Standing]) -> None:
        for merchant_id, standing in found.items():
            self._known[merchant_id] = standing
            self._known.move_to_end(merchant_id)
        while len(self._known) > MERCHANTS_REMEMBERED_MAX:
            self._known.popitem(last=False)


class TermsDesk:
    """Implements the door's part `MerchantTerms`."""

    _database: Database
    _memory: Memory

    async def resolve_terms(self, request: ResolveTerms, /) -> TermsAnswers:
        """By what terms each owner accepted a payment method at an instant."""
        questions = request.questions

        async def read(connection: Connection) -> list[Standing | None]:
            return await self._meant(connection, questions)

        meant = await self._database.transaction(ROLE, read)
        return TermsAnswers(answers=[terms_of(*each) for each in zip(questions, meant, strict=True)])

    async def _meant(self, connection: Connection, questions: Sequence[TermsQuestion]) -> list[Standing | None]:
        """Whom each question means: the merchant of that id, or else whom the master has for it then."""
        own = await self._memory.standings(connection, {each.owner_id for each in questions})
        meant = [_registered(own.get(each.owner_id), each) for each in questions]
        others = [place for place, each in enumerate(meant) if each is None]
        if not others:
            return meant
        asked = [(questions[place].method, questions[place].owner_id, questions[place].at) for place in others]
        mapped = await master.meanings(connection, asked)
        if mapped:
            found = await self._memory.standings(connection, set(mapped.values()))
            for number, merchant_id in mapped.items():
                meant[others[number]] = found.get(merchant_id)
        return meant

    async def settlement_terms(self, request: SettlementTermsOf, /) -> SettlementTermsAnswers:
        """How each merchant is paid, as of the end of a day."""
        at = end_of(request.on)

        async def read(connection: Connection) -> tuple[dict[str, Standing], dict[str, str | None]]:
            found = await self._memory.standings(connection, set(request.merchant_ids))
            companies = {profile.company_id for each in found.values() if (profile := each.profiles.at(at))}
            return found, await changes.registration_numbers(connection, list(companies), at)

        found, numbers = await self._database.transaction(ROLE, read)
        answers = [
            settlement_terms_of(standing, request.on, numbers)
            for each in request.merchant_ids
            if (standing := found.get(each)) is not None
        ]
        return SettlementTermsAnswers(answers=[each for each in answers if each is not None])


def _registered(standing: Standing | None, question: TermsQuestion) -> Standing | None:
    """The merchant itself, from when on it was registered."""
    return standing if standing is not None and standing.created_at <= question.at else None
