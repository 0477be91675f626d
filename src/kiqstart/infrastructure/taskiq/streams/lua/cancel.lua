-- Cancels a task: a delayed one is taken out at once, any other is marked for the worker that has it or will get it.
-- KEYS  1 delayed ids, 2 delayed messages, 3 cancelled tasks, 4 unique keys
-- ARGV  1 task, 2 milliseconds for which the mark is kept
-- Returns the message of a delayed task, or ''.
local stored = redis.call('HGET', KEYS[2], ARGV[1])
if stored then
    local _, unique, task, message = unpack_delayed(stored)
    redis.call('HDEL', KEYS[2], ARGV[1])
    redis.call('ZREM', KEYS[1], ARGV[1])
    release(KEYS[4], unique, task)
    return message
end
redis.call('ZADD', KEYS[3], now_ms() + ARGV[2], ARGV[1])
return ''
