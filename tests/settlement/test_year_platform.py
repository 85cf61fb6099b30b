"""A year of the whole platform by its scheduler: merchants of every cycle are paid on the right day of the bank.

Which days banks are closed on is written down here by hand, and when a cycle is to be paid is worked out from the words
of the contract; nothing of the platform's own calendar is asked. The suite plays the quarter around the New Year;
`make settlement-year` plays all of it.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.settlement.district import EVENING, MERCHANTS, District, opened, until
from tests.settlement.district_proof import require_every_yen

ONE_DAY = timedelta(days=1)
CLOSED = {
    date(2026, 12, 31), date(2027, 1, 1), date(2027, 1, 2), date(2027, 1, 3),  # the New Year
    date(2027, 1, 11),  # 成人の日
    date(2027, 2, 11),  # 建国記念の日
    date(2027, 2, 23),  # 天皇誕生日
    date(2027, 3, 21), date(2027, 3, 22),  # 春分の日, a Sunday, and the Monday instead of it
    date(2027, 4, 29),  # 昭和の日
    date(2027, 5, 3), date(2027, 5, 4), date(2027, 5, 5),  # 憲法記念日, みどりの日, こどもの日
    date(2027, 7, 19),  # 海の日
    date(2027, 8, 11),  # 山の日
    date(2027, 9, 20),  # 敬老の日
    date(2027, 9, 23),  # 秋分の日
    date(2027, 10, 11),  # スポーツの日
    date(2027, 11, 3),  # 文化の日
    date(2027, 11, 23),  # 勤労感謝の日
    date(2027, 12, 31), date(2028, 1, 1), date(2028, 1, 2), date(2028, 1, 3),
    date(2028, 1, 10),
    date(2028, 2, 11),
    date(2028, 2, 23),
    date(2028, 3, 20),
}  # fmt: skip
"""Holidays and bank holidays, of which some are Saturdays or Sundays anyway."""
MONTHLY, TWICE, WEEKLY, DAILY = MERCHANTS
RULES = {
    MONTHLY: {"cycle": "monthly", "payout": {"months_after": 1, "day": 31}, "holiday": "next"},
    TWICE: {"cycle": "twice_monthly", "holiday": "previous"},
    WEEKLY: {"cycle": "weekly", "cycle_day": 2, "payout": {"days_after": 5}, "holiday": "next"},
    DAILY: {"cycle": "daily", "payout": {"days_after": 4}, "holiday": "previous"},
}
BANK_DAYS_BEFORE = 1
"""So many open days before, the bank is told."""
SETTLING, PAID_BY = 12, 50
"""Days after the last sale by which all but the monthly cycles were paid, and by which all were."""


def is_open(day: date) -> bool:
    """Whether banks are."""
    return day.weekday() < 5 and day not in CLOSED


def next_open(day: date) -> date:
    """The day itself, or the first open one after it."""
    while not is_open(day):
        day += ONE_DAY
    return day


def last_open(day: date) -> date:
    """The day itself, or the last open one before it."""
    while not is_open(day):
        day -= ONE_DAY
    return day


def last_of_month(day: date) -> date:
    """The month's last day."""
    return (day.replace(day=28) + 4 * ONE_DAY).replace(day=1) - ONE_DAY


def due_on(merchant: str, last_day: date) -> date:
    """When a cycle that ends on a day is paid, by the contract's words; later where the bank cannot be told in time."""
    match merchant:
        case _ if merchant == MONTHLY:
            agreed = next_open(last_of_month(last_day + ONE_DAY))
        case _ if merchant == TWICE:
            nominal = last_of_month(last_day) if last_day.day == 15 else (last_day + ONE_DAY).replace(day=15)
            agreed = last_open(nominal)
        case _ if merchant == WEEKLY:
            agreed = next_open(last_day + 5 * ONE_DAY)
        case _:
            nominal = last_day + 4 * ONE_DAY
            agreed = last_open(nominal) if last_open(nominal) > last_day else next_open(nominal)
    told = next_open(last_day + ONE_DAY)  # on the first open morning after it at the earliest
    return max(agreed, next_open(told + ONE_DAY))


def ends_a_cycle(merchant: str, day: date) -> bool:
    """Whether a cycle of its ends on a day."""
    month_ends = day == last_of_month(day)
    by_cycle = {MONTHLY: month_ends, TWICE: month_ends or day.day == 15, WEEKLY: day.weekday() == 2, DAILY: True}
    return by_cycle[merchant]


async def lived(district: District, last: date, *, every: int) -> None:
    """Sales, now and then a refund, every so many days up to a day; then nothing more until everybody is paid."""
    dice = random.Random(every)
    rules = {each: {**RULES[each], "instruct_days_before": BANK_DAYS_BEFORE} for each in MERCHANTS}
    await district.sign_up(rules, {each: {"rate_ppm": 30_000} for each in MERCHANTS})
    begins, ends = district.today(), last + PAID_BY * ONE_DAY
    while (today := district.today()) < ends:
        if today <= last and (today - begins).days % every == 0:
            for merchant in MERCHANTS:
                await district.sell(merchant, dice.randint(1_000, 20_000))
            await district.refund(dice.choice(MERCHANTS), dice.randint(1, 30))
        await district.approve_files()
        await district.leap(0, hour=EVENING)
        await until(lambda: all_heard(district))
        await district.leap(await quiet_days(district) if today > last + SETTLING * ONE_DAY else 1)


async def all_heard(district: District) -> bool:
    """Whether what the bank did today has come to settlement: it notes the day on which it hears."""
    payouts = (await district.clerk.get("/v1/settlement/payouts", state="INSTRUCTED", limit=500))["payouts"]
    return all(each["pay_on"] > district.today().isoformat() for each in payouts)


async def quiet_days(district: District) -> int:
    """In so many days something is to be done, once every cycle has ended."""
    if (await district.clerk.get("/v1/settlement/payouts", state="INSTRUCTED", limit=1))["payouts"]:
        return 1
    waits = (await district.clerk.get("/v1/settlement/payouts", state="CLEARED", limit=500))["payouts"]
    first = min((date.fromisoformat(each["instruct_on"]) for each in waits), default=date.max)
    return max(1, min(5, (first - district.today()).days))


async def require_paid_on_the_right_days(district: District) -> int:
    """Each payout went out when it was due, by settlement's word and by the bank's books; gives how many did."""
    payouts = (await district.clerk.get("/v1/settlement/payouts", limit=500))["payouts"]
    paid = [each for each in payouts if each["state"] == "PAID"]
    assert {each["state"] for each in payouts} <= {"PAID", "NOTHING"}
    for each in paid:
        last_day = date.fromisoformat(each["last_day"])
        assert ends_a_cycle(each["payee_id"], last_day), each
        assert each["paid_on"] == due_on(each["payee_id"], last_day).isoformat(), each
    lines = [line for line in district.town.bank.books.statement(None, 0, 10_000) if line.file_id is not None]
    told = sorted((each["paid_on"], -each["amount_minor"]) for each in paid)
    assert sorted((line.date, line.amount) for line in lines) == told
    return len(paid)


async def test_a_quarter_around_the_new_year_is_paid_on_the_right_days(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, date(2027, 12, 22)) as district:
        await lived(district, date(2028, 1, 28), every=6)
        assert await require_paid_on_the_right_days(district) >= 20
        await require_every_yen(district)


@pytest.mark.soak
async def test_a_year_with_all_its_holidays_is_paid_on_the_right_days(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path, date(2026, 12, 22)) as district:
        await lived(district, date(2028, 1, 12), every=4)
        assert await require_paid_on_the_right_days(district) >= 200
        await require_every_yen(district)
