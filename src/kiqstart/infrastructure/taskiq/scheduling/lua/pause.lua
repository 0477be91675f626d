-- Lets a schedule not be due.
-- KEYS  1 schedules, 2 due times, 3 paused schedules
-- ARGV  1 name
-- Returns 0 where there is none.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
    return 0
end
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
