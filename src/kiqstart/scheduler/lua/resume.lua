-- Lets a paused schedule be due again.
-- KEYS  1 schedules, 2 due times, 3 paused schedules
-- ARGV  1 name, 2 when it is due, 3 SHA-1 of the definition that says so
-- Returns 0 where it has another definition, and an error where nothing could be done.
local definition = redis.call('HGET', KEYS[1], ARGV[1])
if not definition or redis.sha1hex(definition) ~= ARGV[3] then
    return 0
end
-- Removes nothing, but a Redis that is full lets a script go on whose first command that writes frees memory.
redis.call('SREM', KEYS[3], '')
if redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 then
    redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
    local removed = redis.pcall('SREM', KEYS[3], ARGV[1])
    if type(removed) == 'table' and removed['err'] then
        redis.pcall('ZREM', KEYS[2], ARGV[1])
        return removed
    end
end
return 1
