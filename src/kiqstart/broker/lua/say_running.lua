-- Says what a worker runs; only of one that is registered, so that what a lost one says late is nothing.
-- KEYS  1 workers, 2 what each worker runs
-- ARGV  1 worker, 2 what it runs, or '', 3 milliseconds to keep that
-- Returns whether the worker is registered.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    return 0
end
if ARGV[2] == '' then
    redis.call('HDEL', KEYS[2], ARGV[1])
else
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return 1
