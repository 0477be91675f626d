-- Takes steps of schedules: each is taken by the first who asks, and its message is sent in the same breath.
-- KEYS  1 schedules, 2 due times, 3 last steps, 4 unique keys, 5 delayed ids, 6 delayed messages, 7... streams
-- ARGV  1 now or '', then for each step: name, SHA-1 of its definition, when it is due, when it is due next or '', the time
--       that is sent or '', place of its stream in KEYS, delay in milliseconds, unique key or '', task, message, outcome
-- Returns for each step its outcome and a detail.
local FIELDS = 11
local now = time_or_now(ARGV[1])
local answer = {}

local function send(at)
    local stream, delay = KEYS[tonumber(ARGV[at + 6])], tonumber(ARGV[at + 7])
    local unique, task = ARGV[at + 8], ARGV[at + 9]
    if unique ~= '' and redis.call('HSETNX', KEYS[4], unique, task) == 0 then
        return 'held', redis.call('HGET', KEYS[4], unique)
    end
    local keys = {uniques = KEYS[4], places = KEYS[4] .. ':places', delayed = KEYS[5], messages = KEYS[6]}
    local sent = enqueue(keys, stream, now, delay, unique, task, ARGV[at + 10])
    if sent['err'] then
        if unique ~= '' then
            redis.call('HDEL', KEYS[4], unique)
        end
        return 'refused', sent['err']
    end
    return 'sent', ''
end

local function take(at)
    local name = ARGV[at + 1]
    local definition = redis.call('HGET', KEYS[1], name)
    if not definition or redis.sha1hex(definition) ~= ARGV[at + 2] then
        return 'lost', ''
    end
    -- It is not due yet, where the clock was set back since somebody looked.
    if redis.call('ZSCORE', KEYS[2], name) ~= ARGV[at + 3] or tonumber(ARGV[at + 3]) > now then
        return 'lost', ''
    end
    local outcome, detail = ARGV[at + 11], ''
    if ARGV[at + 5] ~= '' then
        outcome, detail = send(at)
        if outcome == 'refused' then
            return outcome, detail
        end
    end
    if ARGV[at + 4] == '' then
        redis.call('HDEL', KEYS[1], name)
        redis.call('HDEL', KEYS[3], name)
        redis.call('ZREM', KEYS[2], name)
    else
        local about = ARGV[at + 5] ~= '' and ARGV[at + 5] or ARGV[at + 3]
        redis.call('ZADD', KEYS[2], ARGV[at + 4], name)
        redis.call('HSET', KEYS[3], name, table.concat({about, now, outcome, #detail, detail, ARGV[at + 9]}, '\n'))
    end
    return outcome, detail
end

for place = 0, (#ARGV - 1) / FIELDS - 1 do
    local outcome, detail = take(1 + place * FIELDS)
    table.insert(answer, outcome)
    table.insert(answer, detail)
end
return answer
