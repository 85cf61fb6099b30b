-- The ledger deletes nothing: the shape of a type that is gone stays, and is changed when it comes back.
REVOKE DELETE ON account_type FROM {role};
