-- The janitor's look at the whole queue, or a worker's attempt to become the janitor: the role is free where the worker that
-- has it is not registered.
-- KEYS  1 janitor, 2 workers, 3... shared, then for each queue: isolated, suspects
-- ARGV  1 worker, 2 group, 3 milliseconds to keep dead letters, 4 bytes of dead letters to keep
-- Returns 0 and who is the janitor; or 1, the time, milliseconds until the next delayed message or -1, how many dead letters
-- were ever dropped, how many suspects wait, how many messages were left to other workers, and the workers with the time of
-- their last beat.
local now = now_ms()
local keys = shared_keys(3)
-- Comes first: a Redis that is full lets a script go on whose first command that writes frees memory.
unless_foreign('ZREMRANGEBYSCORE', keys.cancelled, '-inf', now)
local janitor = string.match(unless_foreign('GET', KEYS[1]) or '', '^[^|]*')
if janitor ~= ARGV[1] and janitor ~= '' and redis.call('ZSCORE', KEYS[2], janitor) then
    return {0, janitor}
end
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
    return {0, ''}
end
local suspects = 0
for place = 3 + SHARED, #KEYS do
    local entries = redis.pcall('XLEN', KEYS[place])
    if type(entries) == 'number' and entries > 0 then
        local pending = redis.pcall('XPENDING', KEYS[place], ARGV[2])
        suspects = suspects + entries - (is_error(pending) and 0 or pending[1])
    end
end
local misfits = redis.pcall('XLEN', beside(keys, ':misfits:index'))
misfits = is_error(misfits) and 0 or misfits
if misfits == 0 then
    redis.call('DEL', beside(keys, ':misfits:known'))
end
-- The time only changes, by which others see that the janitor lives.
redis.call('SET', KEYS[1], table.concat({ARGV[1], redis.call('ZCARD', KEYS[2]), suspects, now, misfits}, '|'))

-- Whatever is wrong with the dead letters, the tasks of dead workers are given to others.
local function bound_dead_letters()
    local removed = redis.call('XTRIM', keys.dead, 'MINID', math.max(now - ARGV[3], 0))
    local letters = redis.call('XLEN', keys.dead)
    local bytes = letters > 1 and redis.pcall('MEMORY', 'USAGE', keys.dead, 'SAMPLES', 20) or 0
    if type(bytes) == 'number' and bytes > tonumber(ARGV[4]) then
        local kept = math.max(math.floor(letters * ARGV[4] / bytes), 1)
        removed = removed + redis.call('XTRIM', keys.dead, 'MAXLEN', kept)
    end
    if removed > 0 then
        redis.call('INCRBY', keys.dropped, removed)
    end
end
pcall(bound_dead_letters)

local next_due = redis.pcall('ZRANGE', keys.delayed, 0, 0, 'WITHSCORES')[2]
next_due = next_due and math.max(math.min(math.ceil(tonumber(next_due) - now), 1e9), 0) or -1
return {1, now, next_due, number_of(redis.pcall('GET', keys.dropped)), suspects, misfits,
    redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')}
