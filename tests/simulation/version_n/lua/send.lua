-- Adds a batch of messages, once, however often the batch arrives.
-- KEYS  1 this sender's last batch, 2 unique keys, 3 delayed ids, 4 delayed messages, 5... streams
-- ARGV  1 number of this batch, 2 milliseconds to remember it, then again and again a stream's place in KEYS and
--       how many messages follow that are simply added to it; or 0 and a single message with all that it has:
--       milliseconds of delay or '@' and the time, unique key or '', task id, message
-- Returns what is not simply "sent": place, 'held', id of the task that holds the unique key; or place, 'error', text.
local known = tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1])
if not known then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
local now = now_ms()
local answer = {}

local function report(place, kind, text)
    table.insert(answer, place)
    table.insert(answer, kind)
    table.insert(answer, text)
end

local function send_one(place, stream, at)
    local time, unique, task = string.match(ARGV[at], '^@(.*)'), ARGV[at + 1], ARGV[at + 2]
    local delay = time and time - now or tonumber(ARGV[at])
    local holder = false
    if unique ~= '' then
        if not known then
            redis.call('HSETNX', KEYS[2], unique, task)
        end
        holder = redis.call('HGET', KEYS[2], unique)
    end
    if holder and holder ~= task then
        report(place, 'held', holder)
    elseif not known then
        local sent = enqueue(KEYS[3], KEYS[4], stream, now, delay, unique, task, ARGV[at + 3])
        if sent['err'] then
            if holder then
                redis.call('HDEL', KEYS[2], unique)
            end
            report(place, 'error', sent['err'])
        end
    end
end

local at, place = 3, 0
while at < #ARGV do
    local stream, count = KEYS[tonumber(ARGV[at])], tonumber(ARGV[at + 1])
    at = at + 2
    if count == 0 then
        place = place + 1
        send_one(place, stream, at)
        at = at + 4
    end
    for message = at, at + count - 1 do
        place = place + 1
        local sent = not known and redis.pcall('XADD', stream, '*', 'data', ARGV[message])
        if type(sent) == 'table' and sent['err'] then
            report(place, 'error', sent['err'])
        end
    end
    at = at + count
end
return answer
