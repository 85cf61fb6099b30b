"""What the ledger holds in memory: accounts with a window of their lots, and exchanges with how far they have come.

Instants are whole microseconds since 2020-01-01 UTC (`micros`); a flush id is such an instant shifted by 12 bits
plus the writer's slot, so that one 64-bit number tells when and by whom.
"""

from __future__ import annotations

from bisect import insort
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kessai.services.ledger.api import Account, Freeze

if TYPE_CHECKING:
    from kessai.services.ledger.domain.types import AccountType

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
SLOT_BITS = 12
SLOTS_MAX = 1 << SLOT_BITS
NEVER = 1 << 62
"""Stands for "does not expire" where lots are ordered."""
WINDOW_MAX = 12
"""Lots of one account kept in memory; the rest stay in the database until they are needed."""
WINDOW_BUSY_MAX = 4_096
"""The same for an account that many commands of each page draw on."""
WINDOW_PAGES = 8
"""For how many pages like the last one a busy account's window should do."""

_MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Microseconds since 2020-01-01 UTC."""
    return (at - EPOCH) // _MICROSECOND


def instant(at_micros: int) -> datetime:
    """The aware instant of `micros`."""
    return EPOCH + timedelta(microseconds=at_micros)


def flush_instant(flush_id: int) -> datetime:
    """When a flush was recorded."""
    return EPOCH + timedelta(microseconds=flush_id >> SLOT_BITS)


class Lot:
    """One credit: `remaining` is not consumed yet, of which `held` is promised to held exchanges."""

    __slots__ = ("amount", "expires", "held", "landed", "rate", "remaining", "sequence")

    def __init__(self, sequence: int, amount: int, remaining: int, held: int, expires: int, rate: str | None) -> None:
        self.sequence = sequence
        self.amount = amount
        self.remaining = remaining
        self.held = held
        self.expires = expires
        """Microseconds, or NEVER."""
        self.rate = rate
        self.landed = 0
        """Serial of the page that last touched it."""

    def __lt__(self, other: Lot) -> bool:
        """Whether it is consumed before another: soonest expiry first, then the older one."""
        if self.expires != other.expires:
            return self.expires < other.expires
        return self.sequence < other.sequence


class AccountState:
    """One account as memory knows it. `version` grows with every entry and every change of its settings."""

    __slots__ = (
        "account_id", "balance", "bare", "closed", "complete", "drawn", "freeze", "held", "hex", "incoming", "landed",
        "lots", "metadata", "opened", "overdraft", "owner", "side", "type", "used", "version", "was", "window",
    )  # fmt: skip

    def __init__(
        self,
        account_id: str,
        owner: str,
        account_type: AccountType,
        *,
        opened: int,
        balance: int = 0,
        held: int = 0,
        incoming: int = 0,
        version: int = 0,
        freeze: Freeze = Freeze.NONE,
        closed: bool = False,
        overdraft: int = 0,
        metadata: dict[str, str] | None = None,
    ) -> None:
        self.account_id = account_id
        self.hex = account_id[4:]
        self.owner = owner
        self.type = account_type
        self.balance = balance
        self.held = held
        self.incoming = incoming
        """What held exchanges may still bring it; 0 where the type is log-only."""
        self.version = version
        self.freeze = freeze
        self.closed = closed
        self.overdraft = overdraft
        self.metadata = metadata or {}
        self.opened = opened
        self.lots: list[Lot] = []
        """Open lots in order of consumption: all of them when `complete`, else the first ones."""
        self.complete = True
        self.bare = False
        """Its lots were not loaded, for nothing has drawn on it yet; `complete` is False then."""
        self.side: dict[int, Lot] = {}
        """Lots beyond the window, or exhausted ones, that a held or reversed exchange names."""
        self.window = WINDOW_MAX
        """How many lots to keep between pages."""
        self.drawn = 0
        """Lots that the current page has consumed or held."""
        self.was = version
        """Version in the database before the current page touched it."""
        self.landed = 0
        """Serial of the page that last touched it. A number, for a reference would keep the whole page in memory."""
        self.used = True

    def lot(self, sequence: int) -> Lot:
        """A lot that is known to be loaded."""
        for lot in self.lots:
            if lot.sequence == sequence:
                return lot
        return self.side[sequence]

    def knows(self, sequence: int) -> bool:
        """Whether `lot(sequence)` would find it."""
        return sequence in self.side or any(lot.sequence == sequence for lot in self.lots)

    def keep(self, lot: Lot) -> bool:
        """Place an open lot in the window; False when it lies beyond one that is not complete."""
        lots = self.lots
        if not lots or lots[-1] < lot:
            if not self.complete:
                return False
            lots.append(lot)
        else:
            insort(lots, lot)
        return True

    def drop_empty(self) -> None:
        """Take exhausted lots off the window's front; a later command of the page may still refill them."""
        lots, gone = self.lots, 0
        while gone < len(lots) and not lots[gone].remaining:
            self.side[lots[gone].sequence] = lots[gone]
            gone += 1
        del lots[:gone]

    def settle(self) -> None:
        """After a page: let go of exhausted lots, and of those beyond the window; what is needed again is loaded."""
        if self.side:
            self.side = {sequence: lot for sequence, lot in self.side.items() if lot.remaining}
        if self.held or self.type.expires:  # an exhausted lot may stand behind one that is held or has expired
            self.lots = [lot for lot in self.lots if lot.remaining]
        busy = min(WINDOW_BUSY_MAX, WINDOW_PAGES * self.drawn)
        self.window = max(WINDOW_MAX, busy, self.window >> 1)
        self.drawn = 0
        if len(self.lots) > 2 * self.window:
            self._trim()

    def _trim(self) -> None:
        """Keep the first lots only. Those that are held stay at hand beside the window."""
        for lot in self.lots[self.window :]:
            if lot.held:
                self.side[lot.sequence] = lot
        del self.lots[self.window :]
        self.complete = False

    def expired_unposted(self, now: int) -> int:
        """What sits in expired lots of the window, free but no longer spendable."""
        if not self.type.expires:
            return 0
        return sum(lot.remaining - lot.held for lot in self.lots if lot.expires <= now)

    def available(self, now: int) -> int:
        """What may be spent: balance less held less expired, plus the overdraft limit."""
        free = self.balance - self.held + self.overdraft
        return free - self.expired_unposted(now) if self.type.expires else free

    def message(self, now: int) -> Account:
        """The account as its callers see it."""
        return Account(
            account_id=self.account_id,
            owner=self.owner,
            account_type=self.type.code,
            asset=self.type.asset,
            balance_minor=self.balance,
            held_minor=self.held,
            available_minor=self.available(now),
            overdraft_limit_minor=self.overdraft,
            freeze=self.freeze,
            closed=self.closed,
            version=self.version,
            metadata=self.metadata,
            opened_at=instant(self.opened),
            log_only=self.type.log_only,
        )


def lot_id(account_hex: str, sequence: int) -> str:
    """A lot's public id: its account and the sequence of the log entry that made it."""
    return f"lot_{account_hex}_{sequence}"
