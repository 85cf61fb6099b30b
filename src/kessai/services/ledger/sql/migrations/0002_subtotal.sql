-- A subtotal is exact whatever it comes to: entries are bigints, and enough of them add up to more than one holds.
ALTER TABLE hot_subtotal ALTER COLUMN balance TYPE numeric(38, 0);
