-- Removes a schedule that is in no table. What an error leaves of it is removed when it is asked for again.
-- KEYS  1 schedules, 2 due times, 3 names of the table, 4 paused schedules, 5 last steps, 6 schedules that are set aside
-- ARGV  1 name
-- Returns 1; 0 where there is none, -1 where it is the table's.
if redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 then
    return -1
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('SREM', KEYS[4], ARGV[1])
redis.call('HDEL', KEYS[5], ARGV[1])
local removed = redis.call('HDEL', KEYS[6], ARGV[1]) + redis.call('HDEL', KEYS[1], ARGV[1])
return math.min(removed, 1)
