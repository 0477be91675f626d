-- Ends the lease of a worker that has not beaten since; from here on it has nothing.
-- KEYS  1 workers, 2 what is known of workers, 3... streams
-- ARGV  1 worker, 2 time of the last beat that was seen, 3 how many lost workers are remembered, 4 for how many milliseconds,
--       5 group
-- Returns what the worker had said of itself where the lease was ended, and the last entry that it had of each stream, or '';
-- else nothing. What a read brings that comes later is handed to its name only: its death says nothing of that. It counts as
-- one that was asked to end, whose death says nothing against what it had, if Redis has come back with older data, of which it
-- has not seen anything. Else it is remembered as lost, with what it had said of itself and of what it ran.
local PAGE = 1000

local function last_pending(stream, group, worker)
    local last, start, page = '', '-', nil
    repeat
        page = redis.pcall('XPENDING', stream, group, start, '+', PAGE, worker)
        -- No such group: nothing was ever read from it.
        page = is_error(page) and {} or page
        last = #page > 0 and page[#page][1] or last
        start = '(' .. last
    until #page < PAGE
    return last
end

if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '') ~= tonumber(ARGV[2]) then
    return nil
end
local lost = KEYS[1] .. ':lost'
local info = unless_foreign('HGET', KEYS[2], ARGV[1]) or ''
local running = unless_foreign('HGET', KEYS[1] .. ':running', ARGV[1]) or ''
unless_foreign('HDEL', KEYS[2], ARGV[1])
unless_foreign('HDEL', KEYS[1] .. ':running', ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
local answer = {info}
for place = 3, #KEYS do
    answer[place - 1] = last_pending(KEYS[place], ARGV[5], ARGV[1])
end
if unless_foreign('HDEL', KEYS[1] .. ':restored', ARGV[1]) == 1 then
    redis.pcall('SADD', KEYS[1] .. ':draining', ARGV[1])
    return answer
end
redis.pcall('ZADD', lost, now_ms(), cjson.encode({worker = ARGV[1], beat = ARGV[2], info = info, running = running}))
redis.pcall('ZREMRANGEBYRANK', lost, 0, -1 - ARGV[3])
redis.pcall('PEXPIRE', lost, ARGV[4])
return answer
