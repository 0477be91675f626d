-- Reads dead letters, the newest first: as many as are asked for, or fewer where these are large, but never none.
-- KEYS  1 dead letters
-- ARGV  1 '+', or '(' and the id of the last one that was read, 2 how many at most, 3 about how many bytes
-- Returns for each its id, and its fields and their values one after the other.
return page_of('XREVRANGE', KEYS[1], ARGV[1], ARGV[2], ARGV[3])
