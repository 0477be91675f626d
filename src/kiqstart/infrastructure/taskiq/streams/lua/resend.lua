-- Takes a dead letter out and sends its message anew, as if it had never been delivered.
-- KEYS  1 dead letters, 2 unique keys, 3 cancelled tasks, 4 result, 5 queue's stream
-- ARGV  1 dead letter, 2 task, 3 unique key or '', 4 message
-- Returns 'sent', 'unknown' where there is no such letter, or what kept it there: 'held' and the task that holds the unique
-- key, 'error' and its text.
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
    return {'unknown', ''}
end
local taken = false
if ARGV[3] ~= '' then
    taken = redis.call('HSETNX', KEYS[2], ARGV[3], ARGV[2]) == 1
    local holder = redis.call('HGET', KEYS[2], ARGV[3])
    if holder ~= ARGV[2] then
        return {'held', holder}
    end
end
local sent = add_to_stream(KEYS[5], ARGV[4], ARGV[3], ARGV[2])
if sent['err'] then
    if taken then
        redis.call('HDEL', KEYS[2], ARGV[3])
    end
    return {'error', sent['err']}
end
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[4])
redis.call('ZREM', KEYS[3], ARGV[2])
return {'sent', ''}
