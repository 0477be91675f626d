-- Cancels an entry of a stream: one that waits is taken out, one that runs is marked for the worker that has it.
-- KEYS  1 stream, 2 result, 3... shared
-- ARGV  1 group, 2 entry, 3 task, 4 until when its mark is kept, as that of its id, 5 result of a cancelled task, 6 milliseconds to keep
--       it or 0, 7 what the channel's name has beside the result's key
-- Returns 'running', 'waiting', or '' where the entry is gone.
local keys = shared_keys(3)
local fields = fields_of(KEYS[1], ARGV[2])
if not fields then
    return ''
end
-- Removes nothing, but a Redis that is full lets a script go on whose first command that writes frees memory.
redis.call('XDEL', KEYS[1], '0-0')
if owner_of(KEYS[1], ARGV[1], ARGV[2]) then
    redis.call('ZADD', keys.cancelled, ARGV[4], mark_of(KEYS[1], ARGV[2]))
    return 'running'
end
local problem = store_result(KEYS[2], ARGV[5], ARGV[6], ARGV[7])
if problem then
    return problem
end
redis.call('XDEL', KEYS[1], ARGV[2])
if fields['left'] then
    remove_misfit(keys, KEYS[1], ARGV[2])
end
release(keys, fields['unique'] or '', ARGV[3])
unless_foreign('HDEL', latest_key(keys), KEYS[2])
return 'waiting'
