-- Takes steps of schedules: each is taken by the first who asks, and its message is sent in the same breath.
-- KEYS  1 schedules, 2 due times, 3 last steps, 4 answer to this scheduler's last script, 5 unique keys, 6 delayed ids,
--       7 delayed messages, 8... streams
-- ARGV  1 now or '', 2 number of this script, 3 milliseconds to remember its answer, 4 how many messages a stream may hold,
--       and how many may be delayed, or 0 for any number, then for each step: name, SHA-1 of its definition, when it is due, when it is due next or '', the time that is sent or '', place of its stream in KEYS, delay
--       in milliseconds, unique key or '', task, message, outcome
-- Returns for each step its outcome and a detail.
local FIELDS, FIRST, LIMIT = 11, 5, tonumber(ARGV[4])
local now = time_or_now(ARGV[1])
-- Where a unique key's task is stands beside the keys.
local queue = {uniques = KEYS[5], places = KEYS[5] .. ':places', delayed = KEYS[6], messages = KEYS[7]}

local function error_of(answer)
    return type(answer) == 'table' and answer['err'] or nil
end

-- The same script may arrive twice: it is answered as it was the first time. One that is older than the last one was given up.
local remembered = redis.pcall('GET', KEYS[4])
if type(remembered) == 'string' then
    local number, packed = string.match(remembered, '^(%d+)\n(.*)$')
    if number and tonumber(number) >= tonumber(ARGV[2]) then
        local is_read, answer = pcall(cmsgpack.unpack, packed)
        if tonumber(number) == tonumber(ARGV[2]) and is_read then
            return answer
        end
        answer = {}
        for place = 1, (#ARGV - FIRST + 1) / FIELDS do
            answer[2 * place - 1], answer[2 * place] = 'lost', ''
        end
        return answer
    end
end

local function send(at)
    local stream, delay = KEYS[tonumber(ARGV[at + 5])], tonumber(ARGV[at + 6])
    local unique, task = ARGV[at + 7], ARGV[at + 8]
    if unique ~= '' then
        local is_free = named(redis.pcall('HSETNX', KEYS[5], unique, task), KEYS[5])
        if error_of(is_free) then
            return 'refused', error_of(is_free)
        end
        if is_free == 0 then
            return 'held', redis.call('HGET', KEYS[5], unique) or ''
        end
    end
    if not take_room(queue, stream, delay, LIMIT) then
        release(queue, unique, task)
        return 'refused', 'FULL: as many tasks wait as TASKS_QUEUE_LIMIT (queue_limit) allows'
    end
    local is_well, sent = pcall(enqueue, queue, stream, now, delay, unique, task, ARGV[at + 9])
    local problem = is_well and error_of(sent) or not is_well and (error_of(sent) or tostring(sent))
    if problem then
        if unique ~= '' then
            redis.pcall('HDEL', KEYS[5], unique)
        end
        return 'refused', problem
    end
    return 'sent', ''
end

-- Gives an error, or nil. What a user may not do, or Redis has no memory for, is found here, while nothing is sent yet.
local function move(name, due, following)
    if following ~= '' then
        return error_of(named(redis.pcall('ZADD', KEYS[2], following, name), KEYS[2]))
    end
    -- It changes nothing, but who may not do that could not put back what is refused.
    return error_of(redis.pcall('ZADD', KEYS[2], due, name)) or error_of(redis.pcall('HDEL', KEYS[1], name .. '\0'))
        or error_of(redis.pcall('ZREM', KEYS[2], name))
end

local function note(name, is_over, about, outcome, detail, task)
    if is_over then
        redis.call('HDEL', KEYS[1], name)
        redis.pcall('HDEL', KEYS[3], name)
    else
        redis.pcall('HSET', KEYS[3], name, table.concat({about, now, outcome, #detail, detail, task}, '\n'))
    end
end

local function take(at)
    local name, due, following, sent = ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local definition = redis.call('HGET', KEYS[1], name)
    if not definition or redis.sha1hex(definition) ~= ARGV[at + 1] then
        return 'lost', ''
    end
    -- It is not due yet, where the clock was set back since somebody polled.
    if redis.call('ZSCORE', KEYS[2], name) ~= due or tonumber(due) > now then
        return 'lost', ''
    end
    local problem = move(name, due, following)
    if problem then
        return 'refused', problem
    end
    local outcome, detail = ARGV[at + 10], ''
    if sent ~= '' then
        outcome, detail = send(at)
        if outcome == 'refused' then
            redis.call('ZADD', KEYS[2], due, name)
            return outcome, detail
        end
    end
    note(name, following == '', sent ~= '' and sent or due, outcome, detail, ARGV[at + 8])
    return outcome, detail
end

local answer = {}
for at = FIRST, #ARGV, FIELDS do
    local is_well, outcome, detail = pcall(take, at)
    if not is_well then
        outcome, detail = 'refused', error_of(outcome) or tostring(outcome)
    end
    answer[#answer + 1] = outcome
    answer[#answer + 1] = detail
end
redis.pcall('SET', KEYS[4], ARGV[2] .. '\n' .. cmsgpack.pack(answer), 'PX', ARGV[3])
return answer
