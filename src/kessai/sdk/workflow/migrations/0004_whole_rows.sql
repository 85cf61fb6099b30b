-- A finished workflow's row is often a little more than the 2 kB above which PostgreSQL compresses: that took it longer than
-- all else about the row. Rows of up to a page stay as they are.
ALTER TABLE workflow_done SET (toast_tuple_target = 8160);
ALTER TABLE workflow_open SET (toast_tuple_target = 8160);
