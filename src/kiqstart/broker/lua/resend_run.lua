-- Sends the message of a failed run anew, once, as if it had never been delivered. A mark says that it was.
-- KEYS  1 result, 2 queue's stream, 3 failed runs, 4 marks of those that were sent again, 5... shared
-- ARGV  1 run: its entry's id, a dot and its place there, 2 task, 3 unique key or '', 4 message, 5 which send of its id it is
--       or '', 6 milliseconds to keep the marks
-- Returns 'sent', 'unknown' where the run is not kept any more, 'resent' where it was sent again before, or what kept it
-- from that: 'held' and the task that holds the unique key, 'error' and its text.
local keys = shared_keys(5)
local entry, number = string.match(ARGV[1], '^((%d+)%-%d+)%.%d+$')
if not entry or #redis.call('XRANGE', KEYS[3], entry, entry) == 0 then
    return {'unknown', ''}
end
-- Marks of runs that were dropped. Comes first: it raises where this user may keep no marks, and a Redis that is full lets a
-- script go on whose first command that writes frees memory.
local oldest = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1][1]
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', '(' .. string.match(oldest, '^%d+'))
if redis.call('ZSCORE', KEYS[4], ARGV[1]) then
    return {'resent', ''}
end
local holder = ARGV[3] ~= '' and acquire(keys, ARGV[3], ARGV[2])
if holder then
    return {'held', holder}
end
-- The mark is there before the message: one that was sent without it would be sent twice.
local problem = redis.pcall('ZADD', KEYS[4], number, ARGV[1])
if not is_error(problem) then
    problem = add_to_stream(keys, KEYS[2], ARGV[4], ARGV[3], ARGV[2])
end
if is_error(problem) then
    redis.call('ZREM', KEYS[4], ARGV[1])
    release(keys, ARGV[3], ARGV[2])
    return {'error', problem['err']}
end
redis.pcall('PEXPIRE', KEYS[4], ARGV[6])
unless_foreign('ZREM', keys.cancelled, ARGV[2])
begin_anew(keys, KEYS[1], ARGV[5], 0)
return {'sent', ''}
