"""Merchants (加盟店管理) and the merchant master (加盟店マスタ).

Owns companies, shops, who collects for whom (入金集約), contracts with their validity in time, and the ids by which
each payment method knows a shop. Invariants: what was agreed for a time that has begun is never changed, only followed
by something newer; every change of what moves money is asked for by one person and approved by another, and stays in
the history; at any instant an id of a payment method means one shop at most.
"""
