-- Says of which messages that others have left this worker may take some.
-- KEYS  1 what was said of such
-- ARGV  1... groups of messages
-- Removes nothing, but a Redis that is full lets a script go on whose first command that writes frees memory.
redis.call('HDEL', KEYS[1], '')
local now = now_ms()
for _, group in ipairs(ARGV) do
    redis.call('HSET', KEYS[1], group, now)
end
return 1
