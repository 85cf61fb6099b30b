"""Processing Tracer: the one place that proves a payment right everywhere.

It owns processings with their participants, the participants' reports, the verdicts, the chain that seals them, and
the findings that people work on. Its invariants:

1. A verdict is given at closure only: everybody who took part, whoever they depend on and whoever called them has
   reported on the same revision, and nothing was in flight. Past the deadline it is INCOMPLETE and names who is late.
2. Reports and verdicts are append-only; each verdict is a leaf of one batch, each batch a link of one chain.
3. Whatever comes, it comes in batches: the number of statements does not depend on how many processings are in one.

Its time is real time, also where the sandbox's clock is moved: a participant has so long to answer, whatever day it is.
"""
