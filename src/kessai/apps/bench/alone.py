"""`python -m kessai.apps.bench.alone up …`: ledger and payment without the services that listen to them.

For `bench charge --alone`: what a charge costs by itself, beside what it costs with everything that is told of it. Made
here and nowhere else, as `untraced` is: the product has no such setting.
"""

from __future__ import annotations

import sys
from typing import Any

from kessai.apps import cli, wiring
from kessai.apps.bench.untraced import compose_without_tracer
from kessai.foundation.events import Subscription
from kessai.services.payment.subscribers import bank_results, lapsed_holds


def _of_payment(platform: wiring.Platform) -> list[Subscription]:
    """What payments themselves have to hear."""
    known = (platform.database, platform.clock, platform.payment)
    return [lapsed_holds(*known), bank_results(*known)]


def main() -> int:
    """As `kessai`, composed of the foundation's services."""
    compose_without_tracer()
    parts: Any = wiring.Platform
    parts._subscriptions = _of_payment
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
