-- Redis has come back with older data: remembers who is registered there. Whoever is and does not take itself out again may have
-- ended long ago, and has not died of what it has there as far as anybody knows (fence.lua).
-- KEYS  1 workers
-- ARGV  1 worker that has noticed it, 2 its last beat there, or '' where it is not in these data
local noted = KEYS[1] .. ':restored'
-- Others may have noticed it before; or it is what was noted before these data were saved, and the worker has beaten since.
local before = unless_foreign('HGET', noted, ARGV[1])
if ARGV[2] == '' and unless_foreign('HLEN', noted) ~= 0 or before and tonumber(before) == tonumber(ARGV[2]) then
    return 0
end
local workers = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
-- Comes first: a Redis that is full lets a script go on whose first command that writes frees memory.
redis.call('DEL', noted)
for place = 1, #workers, 2 do
    redis.call('HSET', noted, workers[place], workers[place + 1])
end
redis.call('PEXPIRE', noted, 3600000)
return 1
