-- Drops the dead letters of a certain age.
-- KEYS  1 dead letters
-- ARGV  1 milliseconds since they were buried
-- Returns how many there were.
return redis.call('XTRIM', KEYS[1], 'MINID', math.max(now_ms() - ARGV[1], 0))
