-- Lets a schedule not be due.
-- KEYS  1 schedules, 2 due times, 3 paused schedules
-- ARGV  1 name
-- Returns 0 where there is none, and an error where nothing could be done.
local due = redis.call('ZSCORE', KEYS[2], ARGV[1])
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
    return 0
end
-- Removes nothing, but a Redis that is full lets a script go on whose first command that writes frees memory.
redis.call('ZREM', KEYS[2], '')
local is_new = redis.call('SADD', KEYS[3], ARGV[1])
local removed = due and redis.pcall('ZREM', KEYS[2], ARGV[1])
if type(removed) == 'table' and removed['err'] then
    if is_new == 1 then
        redis.pcall('SREM', KEYS[3], ARGV[1])
    end
    return removed
end
return 1
