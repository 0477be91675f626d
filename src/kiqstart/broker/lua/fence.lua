-- Ends the lease of a worker that has not beaten since; from here on it has nothing.
-- KEYS  1 workers, 2 what is known of workers
-- ARGV  1 worker, 2 time of the last beat that was seen
-- Returns 1 where the lease was ended. It counts as one that was asked to end, whose death says nothing against what it had, if
-- Redis has come back with older data, of which it has not seen anything.
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '') ~= tonumber(ARGV[2]) then
    return 0
end
unless_foreign('HDEL', KEYS[2], ARGV[1])
unless_foreign('HDEL', KEYS[1] .. ':running', ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
if unless_foreign('HDEL', KEYS[1] .. ':restored', ARGV[1]) == 1 then
    redis.pcall('SADD', KEYS[1] .. ':draining', ARGV[1])
end
return 1
