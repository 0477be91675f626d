-- Adds or changes a schedule that is in no table.
-- KEYS  1 schedules, 2 due times, 3 names of the table, 4 paused schedules
-- ARGV  1 name, 2 definition, 3 when it is due
-- Returns 0 where the table has the name.
if redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('SREM', KEYS[4], ARGV[1])
return 1
