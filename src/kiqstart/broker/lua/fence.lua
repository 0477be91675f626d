-- Ends the lease of a worker that has not beaten since; from here on it has nothing.
-- KEYS  1 workers, 2 what is known of workers
-- ARGV  1 worker, 2 time of the last beat that was seen
-- Returns 1 where the lease was ended.
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '') ~= tonumber(ARGV[2]) then
    return 0
end
unless_foreign('HDEL', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
