-- Redis has come back with older data: remembers who is registered there. Whoever is and does not take itself out again may have
-- ended long ago, and has not died of what it has there as far as anybody knows (fence.lua).
-- KEYS  1 workers
-- ARGV  1 the last beat that Redis had answered to the worker that has noticed it, before it came back: that one's time
-- Returns when it was noted.
local noted, now = KEYS[1] .. ':restored', now_ms()
-- Others may have noticed it before. But what was noted before that beat was saved with these data, since Redis had come back once
-- before: it says nothing of who has ended since. So does what has a time yet to come: the clock was set back.
local noted_at = tonumber(unless_foreign('HGET', noted, '') or '') or 0
if noted_at > tonumber(ARGV[1]) and noted_at <= now then
    return noted_at
end
local workers = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
-- Comes first: a Redis that is full lets a script go on whose first command that writes frees memory.
redis.call('DEL', noted)
-- No worker has this name.
redis.call('HSET', noted, '', now)
for place = 1, #workers, 2 do
    redis.call('HSET', noted, workers[place], workers[place + 1])
end
redis.call('PEXPIRE', noted, 3600000)
return now
