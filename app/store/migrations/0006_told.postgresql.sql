-- When a feed told of a resource stands with it: no row of `told` for most.

ALTER TABLE res ADD COLUMN told BIGINT;
