"""`kessai verify`: a second party's proof, from the rows alone, that every invariant holds.

Nothing here is told by the services: what they recorded is read back under the auditor's role, in one view of the
database, and everything that can be worked out from it is worked out anew and compared.
"""

from __future__ import annotations

from kessai.apps.verify.command import main, verify
from kessai.apps.verify.finding import Finding

__all__ = ["Finding", "main", "verify"]
