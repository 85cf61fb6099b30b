"""Recording: commands are gathered, decided in memory on one page, and written with their versions verified."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from kessai.foundation.clock import Clock
from kessai.foundation.db import EXHAUSTED, LOST, Connection, Database, role_of
from kessai.foundation.errors import PaymentError, Unavailable
from kessai.foundation.events import wake
from kessai.foundation.groupcommit import Conflicted, GroupCommit, MustSettle
from kessai.services.ledger.api import account_id_of
from kessai.services.ledger.domain.book import Book
from kessai.services.ledger.domain.commands import (
    Capture,
    Chain,
    Close,
    Command,
    Create,
    NeedLots,
    Open,
    Release,
    Reverse,
    SetFreeze,
    Sweep,
    Update,
)
from kessai.services.ledger.domain.page import Answer, Page
from kessai.services.ledger.domain.progress import Progress
from kessai.services.ledger.domain.state import SLOT_BITS, WINDOW_MAX, AccountState
from kessai.services.ledger.domain.types import AccountTypes
from kessai.services.ledger.store import SERVICE, loading
from kessai.services.ledger.store.rows import Rows, rows_of
from kessai.services.ledger.store.writer import PLANS, Writer

ACCOUNTS_MAX = 80_000
EXCHANGES_MAX = 20_000
LATELY_MAX = 50_000
"""Ids remembered so that a repetition is known at once: about 8 MB."""
SIDE_LOTS_MAX = 64
LOCK_FROM_ATTEMPT = 3
PAGE_MAX = 1_024
"""Commands of one page, unless a batch is larger: the next page is decided while this one is being written."""
LOTS_GROWTH = 8
LOTS_MAX = 1_000_000
SLICE = 200
"""Commands decided at a stretch."""


@dataclass(slots=True)
class Draft:
    """A decided page and the rows it writes (None: only versions to verify, or nothing at all)."""

    page: Page
    rows: Rows
    epoch: int
    """The writer's epoch when it was decided: under another one its flush id is no longer the newest."""


class Recorder:
    """Memory of the book, kept in step with the database by way of the writer."""

    def __init__(self, database: Database, clock: Clock, types: AccountTypes) -> None:
        self._database = database
        self.book = Book(types)
        self._group: GroupCommit[Command, Draft, Answer] = GroupCommit(
            prepare=self._prepare, commit=self._commit, forget=self._forget, overlap=True, batch_max=PAGE_MAX
        )
        self.writer = Writer(database, clock, idle=lambda: self._group.idle)
        self._reading: Connection | None = None
        self._newest: Page | None = None
        self._serial = 0
        self._landed = 0
        self._floor = 0
        """Newest flush that any loaded account was changed by; ours come after it."""
        self._lately: dict[str, None] = {}
        """Exchanges that are known to be stored, the latest last."""
        self._wishes: dict[str, int] = {}
        """How many lots to load, for accounts (by hex) whose window proved too short."""
        self.submit = self._group.submit
        self.submit_all = self._group.submit_all

    @property
    def queued(self) -> int:
        """Commands waiting for a flush."""
        return self._group.queued

    @property
    def flushes(self) -> int:
        """Pages written by this process."""
        return self._group.flushes

    @property
    def conflicts(self) -> int:
        """Pages of this process that had to be decided anew."""
        return self._group.conflicts

    @property
    def cached(self) -> int:
        """Accounts in memory."""
        return len(self.book.accounts)

    async def open(self) -> None:
        """Take a writer's slot."""
        await self.writer.open()

    async def close(self) -> None:
        """Carry what was accepted to its end."""
        await self._group.close()
        await self.writer.close()
        if self._reading is not None:
            self._reading.terminate()

    # -- prepare --------------------------------------------------------------------------------------------------

    async def _prepare(self, commands: list[Command], attempt: int) -> Draft:
        lock = attempt >= LOCK_FROM_ATTEMPT
        await self.writer.ready()
        await self.writer.sent()
        self._evict()
        try:
            connection = await (self.writer.lock() if lock else self._reader())
            await self._load(connection, commands, again=attempt > 0, lock=lock)
        except (*LOST, *EXHAUSTED, TimeoutError) as error:
            raise Unavailable("database_unavailable", "The database cannot be reached just now.") from error
        self._serial += 1
        flush_id = self.writer.next_id(self._floor)
        page = Page(self._serial, flush_id, flush_id >> SLOT_BITS)
        try:
            for part in _slices(commands):
                self.book.decide(page, part)
                await asyncio.sleep(0)  # let others have a turn
            self.book.finish(page)
            rows = rows_of(page)
        except NeedLots as need:
            account = self.book.accounts.pop(need.account_id, None)
            self.book.forget(page)
            self._wish_for_more(need.account_id[4:], WINDOW_MAX if account is None else account.window)
            raise MustSettle from None
        except BaseException:
            self.book.forget(page)
            raise
        if attempt == 0 and await self._may_be_repetitions(commands, page):
            self.book.forget(page)
            raise MustSettle
        self._newest = page
        for account in page.accounts:
            account.settle()
        return Draft(page, rows, self.writer.epoch)

    def _wish_for_more(self, account_hex: str, window: int) -> None:
        wished = self._wishes.get(account_hex, 0)
        if wished >= LOTS_MAX:
            raise Unavailable("too_many_lots", "The account has more lots than can be worked on at once.")
        self._wishes[account_hex] = min(LOTS_MAX, max(wished * LOTS_GROWTH, window * 2, WINDOW_MAX * LOTS_GROWTH))

    async def _may_be_repetitions(self, commands: list[Command], page: Page) -> bool:
        """Is a refusal perhaps to be answered from store? A repetition gets its answer whatever has changed since.

        Refused actions are decided again on what is stored: another process may have carried the exchange further.
        """
        refused: list[str] = []
        for command, outcome in zip(commands, page.outcomes, strict=True):
            if isinstance(outcome, PaymentError):
                if isinstance(command, Capture | Release | Reverse) or (
                    isinstance(command, Create) and command.asked is not None
                ):
                    return True
                if isinstance(command, Create):
                    refused.append(command.exchange_id)
        if not refused:
            return False
        if self._newest is not None and any(each in self._newest.born_exchanges for each in refused):
            return True
        try:
            connection = await self._reader()
            return bool(await loading.load_exchanges(connection, [each[4:] for each in refused]))
        except (*LOST, *EXHAUSTED, TimeoutError) as error:
            self.book.forget(page)
            raise Unavailable("database_unavailable", "The database cannot be reached just now.") from error

    async def _reader(self) -> Connection:
        """The connection that prepares read on, while the writer's may be busy with the flush before."""
        if self._reading is None or self._reading.is_closed():
            self._reading = await self._database.connect(role_of(SERVICE))
            await self._reading.execute(PLANS)
        return self._reading

    async def _load(self, connection: Connection, commands: list[Command], *, again: bool, lock: bool) -> None:
        exchanges = {exchange_id for command in commands if (exchange_id := _exchange_of(command)) is not None}
        if again:
            for exchange_id in exchanges:
                self.book.exchanges.pop(exchange_id, None)
        elif repeated := self._repetitions(commands):
            await self._load_stored(connection, repeated)
            if any(each.stored is None for each in repeated):
                raise MustSettle  # done on the page that is on its way
        known = self.book.exchanges
        missing = [each for each in exchanges if each not in known]  # a set less a view would walk the whole memory
        if missing:
            for progress, _ in await loading.load_exchanges(connection, [each[4:] for each in missing]):
                self.book.exchanges[progress.exchange_id] = progress
        wanted, drawn = self._accounts_of(commands)
        if lock:
            for account_id in wanted:
                self.book.accounts.pop(account_id, None)
        absent = [account_id for account_id in wanted if account_id not in self.book.accounts]
        if absent:
            await self._load_accounts(connection, absent, lock=lock)
        await self._load_windows(connection, wanted, drawn)
        if exchanges:
            await self._load_named(connection, commands)
        if again:
            await self._load_stored(connection, commands)

    def _repetitions(self, commands: list[Command]) -> list[Create | Reverse | Capture | Release]:
        """Those that were done before, as far as memory knows: answered from store without a page that fails first."""
        found: list[Create | Reverse | Capture | Release] = []
        for command in commands:
            if isinstance(command, Create | Reverse):
                if command.exchange_id in self._lately:
                    found.append(command)
            elif isinstance(command, Capture | Release):
                progress = self.book.exchanges.get(_exchange_of(command) or "")
                if progress is not None and any(done.action_id == command.action_id for done in progress.actions):
                    found.append(command)
        return found

    def _accounts_of(self, commands: list[Command]) -> tuple[set[str], set[str]]:
        """Accounts that are looked at; and, of those, the ones whose lots may matter: not only paid into."""
        wanted: set[str] = set()
        drawn: set[str] = set()
        for command in commands:
            if type(command) is Create:
                wanted.update(command.accounts)
                drawn.update(command.accounts[: len(command.request.sources)])
                if command.request.rate is not None:
                    wanted.update(self._position_accounts(command))
            else:
                drawn.update(self._other_accounts(command))
        wanted |= drawn
        wanted.discard("")
        return wanted, drawn

    def _position_accounts(self, command: Create) -> list[str]:
        assets = sorted({leg.asset for leg in (*command.request.sources, *command.request.targets)})
        owner = f"internal:position:{'/'.join(assets)}"
        return [account_id_of(owner, each.code) for each in self.book.types if each.position and each.asset in assets]

    def _other_accounts(self, command: Command) -> list[str]:
        match command:
            case Capture() | Release() | Reverse():
                progress = self.book.exchanges.get(_exchange_of(command) or "")
                return [] if progress is None else [leg.account_id for leg in progress.legs]
            case Sweep():
                return [command.account_id, *self._breakage_accounts()]
            case Open() | SetFreeze() | Close():
                return [command.account_id]
            case Update():
                return [command.request.account_id]
            case Create():
                return command.accounts

    def _breakage_accounts(self) -> list[str]:
        found: list[str] = []
        for each in self.book.types:
            breakage = self.book.types.breakage(each.asset) if each.expires else None
            if breakage is not None:
                found.append(account_id_of(f"internal:breakage:{each.code}", breakage.code))
        return found

    async def _load_accounts(self, connection: Connection, account_ids: list[str], *, lock: bool) -> None:
        hexes = [account_id[4:] for account_id in account_ids]
        for account, flush_id in await loading.load_accounts(connection, self.book.types, hexes, lock=lock):
            self._floor = max(self._floor, flush_id)
            self.book.accounts[account.account_id] = account

    async def _load_windows(self, connection: Connection, wanted: set[str], drawn: set[str]) -> None:
        """Lots of bare accounts, where they matter."""
        accounts = self.book.accounts
        bare = [
            account
            for account_id in wanted
            if (account := accounts.get(account_id)) is not None
            and account.bare
            and (account_id in drawn or account.type.expires)
        ]
        if bare:
            in_flight = [account for account in bare if account.landed > self._landed]
            await loading.load_windows(connection, bare, self._wishes)
            for account in in_flight:
                account.complete = False  # lots were on their way there

    async def _load_named(self, connection: Connection, commands: list[Command]) -> None:
        """Lots that a held or reversed exchange names and that memory does not know."""
        wanted: list[tuple[AccountState, int]] = []
        for command in commands:
            progress = self.book.exchanges.get(_exchange_of(command) or "")
            if progress is None:
                continue
            for leg in progress.legs:
                account = self.book.accounts[leg.account_id]
                named = leg.taken if isinstance(command, Reverse) else leg.holds
                if account.type.has_lots:
                    wanted += [
                        (account, int(lot[0] or 0)) for lot in named if lot[0] and not account.knows(int(lot[0]))
                    ]
        if not wanted:
            return
        if any(account.landed > self._landed for account, _ in wanted):
            raise MustSettle
        await loading.load_named_lots(connection, wanted)

    async def _load_stored(self, connection: Connection, commands: Sequence[Command]) -> None:
        """What the database has already under the ids and references of these commands."""
        births: dict[str, list[Create | Reverse]] = {}
        references: dict[str, list[Create | Reverse]] = {}
        actions: dict[tuple[str, str], list[Capture | Release]] = {}
        for command in commands:
            if isinstance(command, Create | Reverse):
                births.setdefault(command.exchange_id, []).append(command)
                if command.request.reference is not None:
                    references.setdefault(command.request.reference, []).append(command)
            elif isinstance(command, Capture | Release):
                key = ((_exchange_of(command) or "")[4:], command.action_id[4:])
                actions.setdefault(key, []).append(command)
        await _load_asked(connection, commands)
        if births:
            for progress, stored in await loading.load_exchanges(connection, [each[4:] for each in births]):
                self._lately[progress.exchange_id] = None
                for command in births[progress.exchange_id]:
                    command.stored = stored
        if references:
            for reference, exchange_id in (await loading.load_references(connection, references)).items():
                for command in references[reference]:
                    command.reference_taken = command.exchange_id != exchange_id
        if actions:
            for key, stored in (await loading.load_actions(connection, list(actions))).items():
                for action in actions[key]:
                    action.stored = stored

    # -- commit ---------------------------------------------------------------------------------------------------

    async def _commit(self, draft: Draft) -> Sequence[Answer | PaymentError]:
        page = draft.page
        if not page.empty:
            if draft.epoch != self.writer.epoch:
                raise Conflicted
            await self.writer.write(draft.rows)
            wake(self._database, SERVICE)
        elif page.consulted:
            await self.writer.verify(draft.rows)
        else:
            await self.writer.unlock()
        self._landed = page.serial
        self._lately.update(dict.fromkeys(page.born_exchanges))
        for asked in page.keys.values():
            asked.stored = asked.digest
        self._wishes.clear()
        return page.outcomes

    def _forget(self, draft: Draft) -> None:
        self.book.forget(draft.page)

    # -- memory ---------------------------------------------------------------------------------------------------

    def _evict(self) -> None:
        """Keep memory bounded: the oldest go first, those used since they were last considered get another round."""
        _second_chance(self.book.accounts, self._landed)
        for exchange_id in list(islice(self._lately, max(0, len(self._lately) - LATELY_MAX))):
            del self._lately[exchange_id]
        exchanges: dict[str, Progress] = self.book.exchanges
        surplus = len(exchanges) - EXCHANGES_MAX
        if surplus > 0:
            in_flight = self._newest.progress if self._newest is not None and self._newest.serial > self._landed else {}
            for exchange_id in list(islice(exchanges, surplus)):
                if exchanges[exchange_id] not in in_flight:
                    del exchanges[exchange_id]


async def _load_asked(connection: Connection, commands: Sequence[Command]) -> None:
    """What was asked before with the idempotency keys of these commands."""
    asked = [
        command.asked
        for command in commands
        if isinstance(command, Create | Capture | Release | Reverse) and command.asked is not None
    ]
    if asked:
        known = await loading.load_request_keys(connection, [each.key for each in asked])
        for each in asked:
            each.stored = known.get(each.key)


def _slices(commands: list[Command]) -> Iterator[list[Command]]:
    """Commands in parts that do not hold up the event loop for long; linked exchanges stay together."""
    start = 0
    while start < len(commands):
        end = start + SLICE
        while (
            end < len(commands)
            and _chain(commands[end]) is not None
            and _chain(commands[end]) is _chain(commands[end - 1])
        ):
            end += 1
        yield commands[start:end]
        start = end


def _chain(command: Command) -> Chain | None:
    return command.chain if type(command) is Create else None


def _second_chance(accounts: dict[str, AccountState], landed: int) -> None:
    surplus, glances = len(accounts) - ACCOUNTS_MAX, 2 * len(accounts)
    while surplus > 0 and glances > 0:  # more than the limit may be in flight: nobody can leave then
        glances -= surplus
        # Several at a glance: to find the first one, a dictionary walks over all that have left before it.
        for account_id in list(islice(accounts, surplus)):
            account = accounts.pop(account_id)
            if account.landed > landed or (account.used and len(account.side) < SIDE_LOTS_MAX):
                account.used = False
                accounts[account_id] = account
            else:
                surplus -= 1


def _exchange_of(command: Command) -> str | None:
    match command:
        case Capture() | Reverse():
            return command.request.exchange_id
        case Release():
            return command.exchange_id
        case _:
            return None
