-- Renews a worker's lease where Redis has no memory left for ZADD by itself: it lets a script go on whose first command that
-- writes frees memory.
-- KEYS  1 workers
-- ARGV  1 worker, 2 time of this beat
-- Returns 1 where the worker is registered.
redis.call('ZREM', KEYS[1], '')
return redis.call('ZADD', KEYS[1], 'XX', 'CH', ARGV[2], ARGV[1])
