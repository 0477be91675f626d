-- Takes a dead letter out and sends its message anew, as if it had never been delivered.
-- KEYS  1 result, 2 queue's stream, 3... shared
-- ARGV  1 dead letter, 2 task, 3 unique key or '', 4 message, 5 which send of its id it is or ''
-- Returns 'sent', 'unknown' where there is no such letter, or what kept it there: 'held' and the task that holds the unique
-- key, 'error' and its text.
local keys = shared_keys(3)
if #redis.call('XRANGE', keys.dead, ARGV[1], ARGV[1]) == 0 then
    return {'unknown', ''}
end
-- Raises where this user may not take letters out.
redis.call('XDEL', keys.dead, '0-0')
local holder = ARGV[3] ~= '' and acquire(keys, ARGV[3], ARGV[2])
if holder then
    return {'held', holder}
end
local sent = add_to_stream(keys, KEYS[2], ARGV[4], ARGV[3], ARGV[2])
if is_error(sent) then
    release(keys, ARGV[3], ARGV[2])
    return {'error', sent['err']}
end
redis.call('XDEL', keys.dead, ARGV[1])
unless_foreign('ZREM', keys.cancelled, ARGV[2])
begin_anew(keys, KEYS[1], ARGV[5], 0)
return {'sent', ''}
