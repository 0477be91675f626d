-- What several scripts do; it stands before each of them. The protocol is described in this package's __init__.py.

local function now_ms()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Redis' time, unless the caller brings one of its own.
local function time_or_now(time)
    return time ~= '' and tonumber(time) or now_ms()
end

-- Entries carry more than `data` only where there is more to know.
local function add_to_stream(stream, message, unique, task)
    if unique == '' then
        return redis.pcall('XADD', stream, '*', 'data', message)
    end
    return redis.pcall('XADD', stream, '*', 'data', message, 'unique', unique, 'task', task)
end

-- A delayed message is kept with its stream, unique key and task; `unpack_delayed` gives these four.
local function enqueue(delayed, delayed_messages, stream, now, delay, unique, task, message)
    if delay <= 0 then
        return add_to_stream(stream, message, unique, task)
    end
    local id, count = task, 1
    while redis.call('HSETNX', delayed_messages, id, cmsgpack.pack({stream, unique, task, message})) == 0 do
        count = count + 1
        id = task .. '#' .. count
    end
    redis.call('ZADD', delayed, now + delay, id)
    return {ok = 'OK'}
end

local function unpack_delayed(stored)
    return unpack(cmsgpack.unpack(stored))
end

local function release(uniques, unique, task)
    if unique ~= '' and redis.call('HGET', uniques, unique) == task then
        redis.call('HDEL', uniques, unique)
    end
end

local function bury(dead, dropped, limit, letter)
    redis.call('XADD', dead, '*', unpack(letter))
    local removed = redis.call('XTRIM', dead, 'MAXLEN', limit)
    if removed > 0 then
        redis.call('INCRBY', dropped, removed)
    end
end

-- Takes an entry out of its consumer's hands and the stream: its fields, or nil where it was no longer pending.
local function withdraw(stream, group, id)
    local found = redis.call('XRANGE', stream, id, id)[1]
    if redis.call('XACK', stream, group, id) == 0 or not found then
        return nil
    end
    redis.call('XDEL', stream, id)
    local fields = {}
    for place = 1, #found[2], 2 do
        fields[found[2][place]] = found[2][place + 1]
    end
    return fields, found[2]
end

-- Moves a pending entry to where the next worker finds it first; `crashes` is 1 where its worker died with it.
-- keys: stream, returned, suspects, dead, dropped, uniques. Returns the message where it became a dead letter.
local function give_back(keys, group, id, crashes, max_deliveries, limit, worker, now)
    local fields, raw = withdraw(keys.stream, group, id)
    if not fields then
        return nil
    end
    -- Whoever writes to the stream may have put anything there.
    local deliveries = (tonumber(fields['deliveries']) or 0) + crashes
    local first = fields['first'] or string.match(id, '^%d+')
    if deliveries >= max_deliveries then
        bury(keys.dead, keys.dropped, limit, {
            'data', fields['data'] or cjson.encode(raw), 'queue', keys.queue, 'reason', 'worker-lost', 'detail',
            'its worker died ' .. deliveries .. ' times while it had this task; the last one was ' .. worker,
            'deliveries', deliveries, 'first', first, 'last', now})
        release(keys.uniques, fields['unique'] or '', fields['task'])
        return fields['data'] or ''
    end
    fields['deliveries'], fields['first'], fields['worker'] = deliveries, first, worker
    local flat = {}
    for name, value in pairs(fields) do
        table.insert(flat, name)
        table.insert(flat, value)
    end
    local target = keys.returned
    if deliveries == max_deliveries - 1 and deliveries > 0 then
        target = keys.suspects
    end
    redis.call('XADD', target, '*', unpack(flat))
    return nil
end

-- Whoever waits gets a result with its announcement, unless it is large.
local function store_result(key, result, keep)
    if keep == '0' then
        redis.call('SET', key, result)
    else
        redis.call('SET', key, result, 'PX', keep)
    end
    redis.call('PUBLISH', key, #result <= 4096 and result or '')
end
