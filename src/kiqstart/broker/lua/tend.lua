-- The janitor's beat, with which it looks at the whole queue; or a worker's attempt to become the janitor: the role is free
-- where the worker that has it is not registered.
-- KEYS  1 janitor, 2 workers, 3... shared, then for each queue: isolated, suspects, returned, stream
-- ARGV  1 worker, 2 this beat, 3 beats that are possible before it, 4 group, 5 milliseconds to keep dead letters, 6 bytes of dead
--       letters to keep, 7 which of the streams is the first whose consumers are looked at, from 0 on, or '' where it does not tidy
--       now, 8 of how many streams
-- Returns 0 for a worker that is not registered, 1 and its last beat before for one that is not the janitor; else 2, the time, milliseconds until the
-- next delayed message or -1, how many dead letters were ever dropped, how many suspects wait, how many messages were left to
-- other workers, the workers with the time of their last beat, and its own before. Where it tidies also how many unique keys and early acknowledgements are noted, the queues
-- that workers take, and places in KEYS and consumers that are no workers and have entries there.
local now = now_ms()
local keys = shared_keys(3)
local FIRST_STREAM = 3 + SHARED
-- Comes first: a Redis that is full lets a script go on whose first command that writes frees memory.
unless_foreign('ZREMRANGEBYSCORE', keys.cancelled, '-inf', now)
local before = renew_lease(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if not before then
    return {0}
end
local kept = redis.call('MGET', KEYS[1], keys.dropped)
local janitor = string.match(kept[1] or '', '^[^|]*')
if janitor ~= ARGV[1] and janitor ~= '' and redis.call('ZSCORE', KEYS[2], janitor) then
    return {1, before}
end
local suspects = 0
for first = FIRST_STREAM, #KEYS, 4 do
    for place = first, first + 1 do
        local entries = redis.pcall('XLEN', KEYS[place])
        if type(entries) == 'number' and entries > 0 then
            local pending = redis.pcall('XPENDING', KEYS[place], ARGV[4])
            suspects = suspects + entries - (is_error(pending) and 0 or pending[1])
        end
    end
end
local misfits = redis.pcall('XLEN', beside(keys, ':misfits:index'))
misfits = is_error(misfits) and 0 or misfits
local workers = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
-- The time only changes, by which others see that the janitor lives.
redis.call('SET', KEYS[1], table.concat({ARGV[1], #workers / 2, suspects, now, misfits}, '|'))

-- Whatever is wrong with the dead letters, the tasks of dead workers are given to others. Gives how many were dropped.
local function bound_dead_letters()
    local letters = redis.call('XLEN', keys.dead)
    local removed = letters > 0 and redis.call('XTRIM', keys.dead, 'MINID', math.max(now - ARGV[5], 0)) or 0
    letters = letters - removed
    local bytes = letters > 1 and redis.pcall('MEMORY', 'USAGE', keys.dead, 'SAMPLES', 20) or 0
    if type(bytes) == 'number' and bytes > tonumber(ARGV[6]) then
        removed = removed + redis.call('XTRIM', keys.dead, 'MAXLEN', math.max(math.floor(letters * ARGV[6] / bytes), 1))
    end
    return removed > 0 and redis.call('INCRBY', keys.dropped, removed) or nil
end

local is_well, dropped = pcall(bound_dead_letters)
local next_due = redis.pcall('ZRANGE', keys.delayed, 0, 0, 'WITHSCORES')[2]
next_due = next_due and math.max(math.min(math.ceil(tonumber(next_due) - now), 1e9), 0) or -1
local answer = {2, now, next_due, is_well and dropped or number_of(kept[2]), suspects, misfits, workers, before}
if ARGV[7] == '' then
    return answer
end

if misfits == 0 then
    redis.call('DEL', beside(keys, ':misfits:known'))
end
local is_registered = {}
for place = 1, #workers, 2 do
    is_registered[workers[place]] = true
end
local orphans = {}

local function note(place, consumer, pending)
    if is_registered[consumer] then
        return
    end
    if pending > 0 then
        orphans[#orphans + 1] = place
        orphans[#orphans + 1] = consumer
    else
        -- Should it read after all, Redis makes it anew.
        redis.pcall('XGROUP', 'DELCONSUMER', KEYS[place], ARGV[4], consumer)
    end
end

-- Those that have nothing are many in a large fleet, and looked at in turn.
local streams = #KEYS - FIRST_STREAM + 1
for place = FIRST_STREAM, #KEYS do
    if (place - FIRST_STREAM - ARGV[7]) % streams < tonumber(ARGV[8]) then
        local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[place], ARGV[4])
        for _, one in ipairs(is_error(consumers) and {} or consumers) do
            note(place, one[2], one[4])
        end
    else
        local pending = redis.pcall('XPENDING', KEYS[place], ARGV[4])
        for _, one in ipairs(not is_error(pending) and pending[4] or {}) do
            note(place, one[1], tonumber(one[2]))
        end
    end
end
answer[9] = (unless_foreign('HLEN', keys.uniques) or 0) + (unless_foreign('HLEN', keys.places) or 0)
    + (unless_foreign('HLEN', early_key(keys)) or 0)
answer[10] = unless_foreign('SMEMBERS', beside(keys, ':queues')) or {}
answer[11] = orphans
return answer
