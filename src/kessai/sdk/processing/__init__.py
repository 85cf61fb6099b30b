"""The participant's side of the Processing Tracer: every service with effects proves them against its dependencies'.

A processing is one piece of business (a payment and all that becomes of it) across services. Each service that has
effects in it is a participant:

1. It announces, in the outbox row of the flush that has the effects, which processings it touched (`touched_row`).
2. It pulls the tracer's notices, reads its own effects of those processings, and what it believes its dependencies did
   for it (its *claims*), asks each dependency for its own record of the same (`EffectSource`), and compares both ways.
3. It reports what it found, whom it depends on and who called it. The tracer follows these names to closure.

`Participant` does all of this for a service that gives it two functions; another team's program, in any language,
does it over gRPC with the messages of `api`.
"""
