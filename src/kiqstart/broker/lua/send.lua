-- Adds a batch of messages, once, however often the batch arrives; each time it is answered as it was the first time.
-- KEYS  1 this sender's last batch, 2... shared, then streams, then keys of results
-- ARGV  1 number of this batch, 2 milliseconds to remember it, 3 how many messages a stream may hold, and how many may be
--       delayed, or 0 for any number, then again and again a stream's place in KEYS and how many messages follow that are
--       simply added to it; or 0 and a single message with all that it has:
--       milliseconds of delay or '@' and the time, unique key or '', task id, message, the place in KEYS of its
--       result, or 0 where no other task can have had its id, and which send of its id it is or ''; or 0 instead of a place, and
--       how many messages were here when the batch came first and are sent no more, since their callers gave up
-- Returns what is not simply "sent": place, 'held', id of the task that holds the unique key; or place, 'error', text; or
-- place, 'full', 'queue' or 'delayed'.
local before = answer_to_batch(KEYS[1], ARGV[1], ARGV[2])
if before then
    return before
end
local keys, answer, limit = shared_keys(2), {}, tonumber(ARGV[3])

local function send_one(place, stream, at)
    local time, unique, task = string.match(ARGV[at], '^@(.*)'), ARGV[at + 1], ARGV[at + 2]
    local now = now_ms()
    local delay = time and time - now or tonumber(ARGV[at])
    local holder = unique ~= '' and acquire(keys, unique, task)
    if holder then
        report(answer, place, 'held', holder)
        return
    end
    if not take_room(keys, stream, delay, limit) then
        release(keys, unique, task)
        report(answer, place, 'full', delay > 0 and 'delayed' or 'queue')
        return
    end
    local sent = enqueue(keys, stream, now, delay, unique, task, ARGV[at + 3])
    if is_error(sent) then
        release(keys, unique, task)
        report(answer, place, 'error', sent['err'])
    elseif ARGV[at + 4] ~= '0' then
        begin_anew(keys, KEYS[tonumber(ARGV[at + 4])], ARGV[at + 5], math.floor(delay))
    end
end

local at, place = 4, 0
while at < #ARGV do
    local stream, count = KEYS[tonumber(ARGV[at])], tonumber(ARGV[at + 1])
    at = at + 2
    if not stream then
        place = place + count
    elseif count == 0 then
        place = place + 1
        local is_well, problem = pcall(send_one, place, stream, at)
        if not is_well then
            report(answer, place, 'error', type(problem) == 'table' and problem['err'] or tostring(problem))
        end
        at = at + 6
    else
        add_plain(keys, stream, at, count, limit, answer, place)
        place = place + count
        at = at + count
    end
end
return answer_batch(KEYS[1], ARGV[1], ARGV[2], answer)
