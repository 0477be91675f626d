-- Ends the lease of a worker that has not beaten since; from here on it has nothing.
-- KEYS  1 workers
-- ARGV  1 worker, 2 time of the last beat that was seen
-- Returns 1 where the lease was ended.
if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then
    return 0
end
return redis.call('ZREM', KEYS[1], ARGV[1])
