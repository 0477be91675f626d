-- Adds a batch of messages, once, however often the batch arrives.
-- KEYS  1 this sender's last batch, 2 unique keys, 3 delayed ids, 4 delayed messages, 5... streams
-- ARGV  1 number of this batch, 2 milliseconds to remember it, then for each message:
--       place of its stream in KEYS, milliseconds of delay or '@' and the time, unique key or '', task id, message
-- Returns what is not simply "sent": place, 'held', id of the task that holds the unique key; or place, 'error', text.
local FIELDS = 5
local known = tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1])
if not known then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
local now = now_ms()
local answer = {}
for place = 1, (#ARGV - 2) / FIELDS do
    local at = 2 + (place - 1) * FIELDS
    local stream, unique, task, message = KEYS[tonumber(ARGV[at + 1])], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
    local time = string.match(ARGV[at + 2], '^@(.*)')
    local delay = time and time - now or tonumber(ARGV[at + 2])
    local holder = false
    if unique ~= '' then
        if not known then
            redis.call('HSETNX', KEYS[2], unique, task)
        end
        holder = redis.call('HGET', KEYS[2], unique)
    end
    if holder and holder ~= task then
        table.insert(answer, place)
        table.insert(answer, 'held')
        table.insert(answer, holder)
    elseif not known then
        local sent = enqueue(KEYS[3], KEYS[4], stream, now, delay, unique, task, message)
        if sent['err'] then
            if holder then
                redis.call('HDEL', KEYS[2], unique)
            end
            table.insert(answer, place)
            table.insert(answer, 'error')
            table.insert(answer, sent['err'])
        end
    end
end
return answer
