"""The sandbox's clock (サンドボックス時計): business time that can be frozen and moved forward, in sandboxes only.

Owns one row: the offset from real time, or the instant at which time stands still. Invariant: time never goes back.
All processes on one database share it; each looks at the row several times a second.
"""
