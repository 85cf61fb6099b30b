"""`kessai` with short leases, for tests that crash often: what a dead process left is taken up after a second."""

import sys

from kessai.apps.cli import main
from kessai.sdk.workflow import engine

LEASE_S = 1.0

if __name__ == "__main__":
    defaults = engine.Engine.__init__.__kwdefaults__  # pyright: ignore[reportUnknownMemberType]
    assert defaults is not None
    assert "lease_s" in defaults
    defaults["lease_s"] = LEASE_S
    sys.exit(main())
