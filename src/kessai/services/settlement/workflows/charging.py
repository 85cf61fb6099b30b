"""Transfer fees (振込手数料) that had gone back are charged again where the payout was paid after all.

The fee lies with the payee's settled sales since it went back, and in no payout: so it is there to be taken. It is a
movement of its own under an id that follows from the payout, so that it is charged once, however often it is asked for.
"""

from __future__ import annotations

from kessai.foundation.db import Connection
from kessai.sdk.workflow import Activity
from kessai.services.settlement import store
from kessai.services.settlement.domain.cycle_rules import cycle_rules
from kessai.services.settlement.domain.naming import payment_id_of
from kessai.services.settlement.domain.payouts import Payout, charged_again, charging_again
from kessai.services.settlement.store import payouts
from kessai.services.settlement.store.movements import Movement
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.asking import ask, write_down_apart
from kessai.services.settlement.workflows.offsetting import contended

FEE_OWNER = "internal:transfer_fee"


async def charge_again(activity: Activity[Deps]) -> None:
    """Charge the fees of a page of payouts; the next run goes on with what is left. What is refused stays so."""
    deps, now, limit = activity.deps, activity.deps.clock.now(), cycle_rules().pages.payees

    async def begin(connection: Connection) -> list[Payout]:
        found = await payouts.with_fees_to_charge_again(connection, limit)
        await write_down_apart(connection, [_fee(each) for each in found], now)
        new = [charging_again(each, _fee_id(each)) for each in found if each.fee_payment_id != _fee_id(each)]
        if len(await payouts.change(connection, new, now)) < len(new):
            raise contended()
        waiting = await payouts.with_fees_to_charge_again(connection, limit)
        return [each for each in waiting if each.fee_payment_id == _fee_id(each)]  # one may have come meanwhile

    found = await deps.database.transaction(store.ROLE, begin)
    known = await ask(activity, [_fee_id(each) for each in found]) if found else {}
    answered = [(each, known[_fee_id(each)]) for each in found]
    after = [charged_again(each, one.code, done=one.done) for each, one in answered]
    await deps.database.transaction(store.ROLE, lambda connection: payouts.change(connection, after, now))


def _fee_id(payout: Payout) -> str:
    return payment_id_of("transfer_fee", payout.payout_id, "paid_after_all")


def _fee(payout: Payout) -> Movement:
    return Movement(
        payment_id=_fee_id(payout),
        kind="transfer_fee",
        owner_id=payout.payee_id,
        counterpart_id=FEE_OWNER,
        amount_minor=payout.transfer_fee_minor,
        about=f"payout:{payout.payout_id}",
    )
