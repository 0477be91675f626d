-- Makes a worker known, with the groups that it reads by. Again makes it known again.
-- KEYS  1 workers, 2 epoch, 3 queues, 4 draining workers, 5 what is known of workers, 6 layout, 7 group, 8... shared, then
--       streams
-- ARGV  1 group, 2 worker, 3 a new epoch where there is none, 4 what is to be known of it, 5 layout of this version,
--       6... names of the queues
-- Returns 'ok', the epoch and Redis' time; or what keeps it from working here: 'layout' or 'group', and which one there is;
-- or 'type' and the key that holds something else.
local now = now_ms()
local TYPES = {'zset', 'string', 'set', 'set', 'hash', 'string', 'string', 'hash', 'hash', 'zset', 'hash', 'zset', 'stream',
    'string'}
for place, expected in ipairs(TYPES) do
    local found = redis.call('TYPE', KEYS[place])['ok']
    if found ~= 'none' and found ~= expected then
        return {'type', KEYS[place] .. ' holds a ' .. found, 0}
    end
end
-- Removes nothing, but a Redis that is full lets a script go on whose first command that writes frees memory.
redis.call('ZREM', KEYS[1], '')
local layout, group = tonumber(redis.call('GET', KEYS[6]) or '0') or 0, redis.call('GET', KEYS[7])
if layout > tonumber(ARGV[5]) then
    return {'layout', tostring(layout), 0}
end
if group and group ~= ARGV[1] and redis.call('ZCOUNT', KEYS[1], now - 15000, '+inf') > 0 then
    return {'group', group, 0}
end
for place = 8 + SHARED, #KEYS do
    local made = redis.pcall('XGROUP', 'CREATE', KEYS[place], ARGV[1], '0', 'MKSTREAM')
    if is_error(made) and not string.find(made['err'], 'BUSYGROUP') then
        return redis.error_reply(made['err'] .. ' (key ' .. KEYS[place] .. ')')
    end
end
redis.call('SET', KEYS[6], ARGV[5])
redis.call('SET', KEYS[7], ARGV[1])
redis.call('SET', KEYS[2], ARGV[3], 'NX')
redis.call('SADD', KEYS[3], unpack(ARGV, 6))
redis.call('SREM', KEYS[3] .. ':untaken', unpack(ARGV, 6))
redis.call('SREM', KEYS[4], ARGV[2])
redis.call('HSET', KEYS[5], ARGV[2], ARGV[4])
-- Who finds its name gone and is not here either was lost by Redis, and not fenced by others. The oldest names go.
local registered = KEYS[1] .. ':registered'
local last = unless_foreign('ZRANGE', registered, -1, -1, 'WITHSCORES')
if last then
    redis.call('ZADD', registered, (tonumber(last[2]) or 0) + 1, ARGV[2])
    redis.call('ZREMRANGEBYRANK', registered, 0, -(2 * redis.call('ZCARD', KEYS[1]) + 1001))
end
redis.call('ZADD', KEYS[1], now, ARGV[2])
return {'ok', redis.call('GET', KEYS[2]), now}
