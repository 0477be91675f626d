-- One beat of a worker: renews its lease, moves what is due, drops what is too old, and tells what it has to know.
-- KEYS  1 workers, 2 epoch, 3 delayed ids, 4 delayed messages, 5 dead letters, 6 dropped dead letters,
--       7 cancelled tasks, 8 janitor
-- ARGV  1 worker, 2 milliseconds without a beat that are suspicious, 3 how many delayed messages to move,
--       4 milliseconds to keep dead letters, 5 milliseconds for which the janitor's role is kept
-- Returns 1 where the worker is registered, the epoch or '', milliseconds until the next delayed message or -1, how many
-- tasks are marked as cancelled, how many dead letters were ever dropped, 1 for the janitor, workers late with their beat
-- and the time of their last one.
local now = now_ms()
-- Comes first: a Redis that is full lets a script go on whose first command that writes frees memory.
redis.call('ZREMRANGEBYSCORE', KEYS[7], '-inf', now)
local registered = redis.call('ZSCORE', KEYS[1], ARGV[1])
if registered then
    redis.call('ZADD', KEYS[1], now, ARGV[1])
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, ARGV[3])) do
    local stored, moved = redis.call('HGET', KEYS[4], id), {}
    if stored then
        local stream, unique, task, message = unpack_delayed(stored)
        moved = add_to_stream(stream, message, unique, task)
    end
    if type(moved) == 'table' and moved['err'] then
        -- The stream is on its way to another node, or its key holds something else: later, and after all others.
        redis.call('ZADD', KEYS[3], now + ARGV[2], id)
    else
        redis.call('HDEL', KEYS[4], id)
        redis.call('ZREM', KEYS[3], id)
    end
end
local next_due = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]

local removed = redis.call('XTRIM', KEYS[5], 'MINID', math.max(now - ARGV[4], 0))
if removed > 0 then
    redis.call('INCRBY', KEYS[6], removed)
end

local janitor = redis.call('GET', KEYS[8])
if not janitor or janitor == ARGV[1] then
    redis.call('SET', KEYS[8], ARGV[1], 'PX', ARGV[5])
end
return {
    registered and 1 or 0,
    redis.call('GET', KEYS[2]) or '',
    next_due and math.max(math.ceil(next_due - now), 0) or -1,
    redis.call('ZCARD', KEYS[7]),
    tonumber(redis.call('GET', KEYS[6]) or '0'),
    (not janitor or janitor == ARGV[1]) and 1 or 0,
    redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2], 'WITHSCORES', 'LIMIT', 0, 50)}
