"""The statutory desk: its verbs, and the reports it offers."""

from __future__ import annotations

from datetime import date

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock, business_date
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Conflict, Invalid, NotFound, Refused
from kessai.foundation.events.standing import is_quiet
from kessai.foundation.money import ASSET_EXPONENTS
from kessai.services.books.api.statutory import (
    BookFigure,
    CategoryFigure,
    GetStatutoryDay,
    MakeStatutoryDay,
    Recorded,
    RecordPrices,
    RecordSafeguard,
    RecordWallets,
    Safeguarded,
    SecurityFigure,
    StatutoryDay,
)
from kessai.services.books.domain.statutory.rules import StatutoryConfig
from kessai.services.books.service.asked import Offers
from kessai.services.books.service.statutory.crypto import CryptoBooks
from kessai.services.books.service.statutory.days import DayMaker
from kessai.services.books.service.statutory.funds import FundsBooks
from kessai.services.books.service.statutory.prepaid import PrepaidBooks
from kessai.services.books.store import ROLE, statutory_books, statutory_days, statutory_records
from kessai.services.books.store.statutory_days import DayKept
from kessai.services.books.store.statutory_records import Counted, Safeguard

SUBSCRIPTION = "books.ledger"
TOPICS = ("ledger.account", "ledger.exchange")
BY_JOB = "job:statutory-day"


class StatutoryDesk:
    """Implements the statutory verbs of the door `Books`."""

    def __init__(self, database: Database, clock: Clock, config: StatutoryConfig) -> None:
        self._database = database
        self._clock = clock
        self._config = config
        self.days = DayMaker(database, clock, config, self._quiet)
        self._books = (FundsBooks(database, config), PrepaidBooks(database, config), CryptoBooks(database, config))

    @property
    def offers(self) -> Offers:
        """The reports on the statutory books, by name."""
        return {name: offer for each in self._books for name, offer in each.offers.items()}

    async def make_due_days(self) -> int:
        """Make every day that is over and told of; gives how many."""
        return await self.days.make_due(by=BY_JOB)

    async def make_statutory_day(self, request: MakeStatutoryDay, /) -> StatutoryDay:
        """Make the statutory books of a day, or make them again and compare."""
        if await statutory_days.days_kept(self._database, request.day, request.day):
            await self.days.make_again(request.day)
        else:
            await self.days.make_through(request.day, by=current_call().caller)
        return await self.get_statutory_day(GetStatutoryDay(day=request.day))

    async def get_statutory_day(self, request: GetStatutoryDay, /) -> StatutoryDay:
        """A day of the statutory books; raises NotFound."""
        day = request.day
        kept = await statutory_days.days_kept(self._database, day, day)
        if not kept:
            raise NotFound("statutory_day_not_made", f"The statutory books of {day} are not made.")
        return await self._shown(kept[0])

    async def record_safeguard(self, request: RecordSafeguard, /) -> Safeguarded:
        """Record what secures customers' money, or its release."""
        self._check_day(request.effective_on)
        if not request.amount_minor:
            raise Invalid("amount_zero", "Nothing is secured or released by an amount of zero.")
        asked = Safeguard(
            request.book,
            request.reference,
            request.means.value,
            self._subject(request),
            request.amount_minor,
            request.effective_on,
            request.place,
        )

        async def work(connection: Connection) -> int:
            await statutory_records.take_safeguard_turn(connection)
            book_on = max(asked.effective_on, await statutory_records.hold_open_day(connection))
            new = await statutory_records.insert_safeguard(
                connection, asked, book_on=book_on, now=self._clock.now(), by=current_call().caller
            )
            if not new and await statutory_records.safeguard_named(connection, asked.book, asked.reference) != asked:
                raise Conflict("safeguard_differs", f"{asked.reference} was recorded with other content.")
            every = await statutory_records.every_safeguard(connection, asked.book)
            _check_releases([each for each in every if each.subject == asked.subject])
            return sum(
                each.amount
                for each in every
                if each.subject == asked.subject and each.effective_on <= asked.effective_on
            )

        secured = await self._database.transaction(ROLE, work, isolation="read_committed")
        return Safeguarded(book=asked.book, reference=asked.reference, secured_minor=secured)

    async def record_wallets(self, request: RecordWallets, /) -> Recorded:
        """Record what stood in the wallets at the end of a day."""
        self._check_day(request.day)
        _check_assets([each.asset for each in request.wallets])
        counts = [Counted(each.wallet, each.asset, each.cold, each.quantity) for each in request.wallets]
        counts = list(dict.fromkeys(counts))

        async def work(connection: Connection) -> int:
            book_on = max(request.day, await statutory_records.hold_open_day(connection))
            new, kept = await statutory_records.insert_wallets(
                connection, request.day, counts, book_on=book_on, now=self._clock.now(), by=current_call().caller
            )
            if not kept.issuperset(counts):
                raise Conflict("wallet_count_differs", f"A wallet was counted otherwise on {request.day}.")
            return new

        return Recorded(recorded=await self._database.transaction(ROLE, work))

    async def record_prices(self, request: RecordPrices, /) -> Recorded:
        """Record the prices that value crypto-assets on a day."""
        self._check_day(request.day)
        _check_assets([each.asset for each in request.prices])
        prices = {each.asset: each.unit_price for each in request.prices}

        async def work(connection: Connection) -> int:
            book_on = max(request.day, await statutory_records.hold_open_day(connection))
            new, kept = await statutory_records.insert_prices(
                connection, request.day, request.source, prices, book_on=book_on, now=self._clock.now(),
                by=current_call().caller,
            )  # fmt: skip
            told = {each.asset: (each.unit_price, request.source) for each in request.prices}
            same = len(prices) == len({(each.asset, each.unit_price) for each in request.prices})
            if not same or any(kept[asset] != value for asset, value in told.items()):
                raise Conflict("price_differs", f"Another price was recorded for {request.day}.")
            return new

        return Recorded(recorded=await self._database.transaction(ROLE, work))

    async def _quiet(self) -> bool:
        return await is_quiet(
            self._database, source="ledger", subscriber="books", subscription=SUBSCRIPTION, topics=TOPICS
        )

    def _check_day(self, day: date) -> None:
        if day > business_date(self._clock.now()):
            raise Invalid("future_date", f"{day} is in the future.", day=day.isoformat())

    def _subject(self, request: RecordSafeguard) -> str:
        """The type of funds transfer that is secured; `own` of prepaid instruments."""
        if request.book == "prepaid":
            if request.transfer_type is not None:
                raise Invalid("transfer_type_unknown", "Prepaid instruments have no type of funds transfer.")
            return "own"
        types = self._config.of(request.effective_on).types_of("funds_transfer").values()
        used = sorted({str(each.transfer_type) for each in types})
        if request.transfer_type is None and len(used) == 1:
            return used[0]
        if request.transfer_type not in used:
            raise Invalid("transfer_type_unknown", f"The types of funds transfer are {', '.join(used)}.")
        return request.transfer_type

    async def _shown(self, kept: DayKept) -> StatutoryDay:
        day = kept.book_on
        types = list(self._config.types)
        moved = await statutory_books.categories(self._database, day, day, types)
        return StatutoryDay(
            day=day,
            digest=kept.digest,
            previous_digest=kept.previous_digest,
            made_at=kept.made_at,
            lines=kept.lines,
            late_lines=kept.late_lines,
            books=[
                BookFigure(
                    account_type=each.account_type,
                    asset=each.asset,
                    opening_minor=each.opening,
                    categories=[
                        CategoryFigure(
                            category=one.category,
                            amount_minor=one.amount,
                            lines=one.lines,
                            late_lines=one.late_lines,
                        )
                        for one in moved.get((day, each.account_type), {}).values()
                    ],
                    closing_minor=each.closing,
                    told_minor=each.told,
                    accounts=each.accounts,
                    moved=each.moved,
                    differing=each.differing,
                )
                for _, each in await statutory_books.book_days(self._database, day, day, types)
            ],
            security=[
                SecurityFigure(
                    transfer_type=each.transfer_type,
                    business_day=each.business_day,
                    obligation_minor=each.obligation,
                    procedure_cost_minor=each.procedure_cost,
                    required_minor=each.required,
                )
                for _, each in await statutory_books.securities(self._database, day, day)
            ],
            over_cap=await statutory_books.count_over_cap(self._database, day),
        )


def _check_releases(safeguards: list[Safeguard]) -> None:
    secured = 0
    for each in sorted(safeguards, key=lambda each: (each.effective_on, -each.amount)):
        secured += each.amount
        if secured < 0:
            raise Refused(
                "release_exceeds_safeguard", f"On {each.effective_on} more would be released than is secured."
            )


def _check_assets(assets: list[str]) -> None:
    for asset in assets:
        if asset not in ASSET_EXPONENTS:
            raise Invalid("unknown_asset", f"There is no asset {asset}.", asset=asset)
