-- Keeps an unreadable schedule where nobody looks for what is due.
-- KEYS  1 schedules, 2 due times, 3 schedules that are set aside
-- ARGV  1 name, 2 the definition as it was read
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') == ARGV[2] then
    redis.call('ZREM', KEYS[2], ARGV[1])
    redis.call('HDEL', KEYS[1], ARGV[1])
    if ARGV[2] ~= '' then
        redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
    end
end
return 1
