-- Moves delayed messages that are due into their streams.
-- KEYS  1... shared
-- ARGV  1 how many at most, 2 how many bytes of messages at most, though never none, 3 milliseconds until what cannot be moved
--       is tried again, 4 milliseconds for which a message of another layout is left to workers that know it, 5 how many
--       dead letters to keep, 6 what a result's key has before the task, 7 the result of a cancelled task, with 8 in place of
--       the task, 9 milliseconds to keep it or 0, 10 what the channel's name has beside the result's key, 11 stream of the
--       default queue, 12 what the streams of the others begin with, 13 the result of a task that cannot be read
-- Returns milliseconds until the next one or -1, and how many were taken.
local keys = shared_keys(1)
local now, bytes = now_ms(), 0
-- Raises where this user may not take out what is moved; it would then be moved again and again.
redis.call('HDEL', keys.messages, '')
redis.call('ZREM', keys.delayed, '')
local due = redis.call('ZRANGEBYSCORE', keys.delayed, '-inf', now, 'LIMIT', 0, ARGV[1])
local answer = {-1, 0}

-- Whoever writes a delayed message could name any key.
local function is_queue(stream)
    local name = string.sub(stream, 1, #ARGV[12]) == ARGV[12] and string.sub(stream, #ARGV[12] + 1) or ''
    local is_inner = string.match(name, ':returned$') or string.match(name, ':suspects$') or string.match(name, ':isolated$')
    return stream == ARGV[11] or name ~= '' and not is_inner and not string.find(name, '%c')
end

-- A delayed message has the name of its task, unless others of that task are delayed. Which send it is it cannot say.
local function tell_caller(id, stored)
    local _, unique, task = unpack_delayed(stored)
    if not task and (string.find(id, '#%d+$') or redis.call('HEXISTS', keys.messages, nth_delayed(id, 2)) == 1) then
        return
    end
    local result = ARGV[6] .. (task or id)
    release(keys, unique or '', task or id)
    store_outcome(keys, false, unless_foreign('HGET', latest_key(keys), result) or '', result, ARGV[13], ARGV[9], ARGV[10])
end

local function keep_unreadable(id, stored)
    if stored then
        local since = redis.call('HGET', keys.messages .. ':unreadable', id)
        if not since then
            redis.call('HSET', keys.messages .. ':unreadable', id, now)
        end
        if now - (since or now) < tonumber(ARGV[4]) then
            redis.call('ZADD', keys.delayed, now + ARGV[3], id)
            return
        end
        local problem = bury(keys, ARGV[5], {
            'data', #stored > 67108864 and string.sub(stored, 1, 65536) or stored, 'queue', '', 'reason', 'malformed', 'detail', 'a delayed message that no worker can read',
            'deliveries', 0, 'first', since, 'last', now})
        if problem then
            error(problem)
        end
        tell_caller(id, stored)
    end
    redis.call('HDEL', keys.messages .. ':unreadable', id)
    remove_delayed(keys, id, nil)
end

local function move(id)
    local stored = redis.call('HGET', keys.messages, id)
    local stream, unique, task, message = unpack_delayed(stored or '')
    if not stream or not is_queue(stream) then
        return keep_unreadable(id, stored)
    end
    if unless_foreign('ZSCORE', keys.cancelled, task) then
        release(keys, unique, task)
        local escaped = string.gsub(string.sub(cjson.encode(task), 2, -2), '%%', '%%%%')
        unless_foreign('HDEL', latest_key(keys), ARGV[6] .. task)
        store_result(ARGV[6] .. task, (string.gsub(ARGV[7], ARGV[8], escaped)), ARGV[9], ARGV[10])
    else
        local added = add_to_stream(keys, stream, message, unique, task)
        if is_error(added) then
            error(added)
        end
    end
    remove_delayed(keys, id, task)
end

for _, id in ipairs(due) do
    bytes = bytes + redis.call('HSTRLEN', keys.messages, id)
    if answer[2] > 0 and bytes > tonumber(ARGV[2]) then
        break
    end
    answer[2] = answer[2] + 1
    if not pcall(move, id) then
        -- The stream is on its way to another node, or its key holds something else: later, and after all others.
        redis.call('ZADD', keys.delayed, now + ARGV[3], id)
    end
end
local next_due = redis.call('ZRANGE', keys.delayed, 0, 0, 'WITHSCORES')[2]
if next_due then
    answer[1] = math.max(math.min(math.ceil(tonumber(next_due) - now), 1e9), 0)
end
return answer
