-- A scheduler says that it lives, and sees what is due, or will be soon.
-- KEYS  1 due times, 2 schedulers, 3 table in effect, 4 its number, 5 latest time at which anybody polled
-- ARGV  1 now or '', 2 scheduler, or '' for no more than a further page of what is due, 3 milliseconds after which a
--       scheduler that does not poll counts as gone, 4 milliseconds by which the clock may be set back, 5 milliseconds that
--       are soon, 6 how many are left out of the page, 7 how many may be in it, 8 bytes of names that may be in it
-- Returns now, the next time at which something is due or '', the table or '', its number, some schedulers, 1 where the clock
-- was set back by more than it may be, 1 where nothing else is due, then name and time of each that is due or soon will be.
local now = time_or_now(ARGV[1])
local start, limit, bytes = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local STEP = 100

-- What is wrong with a key that only helps, or may not be written, keeps nobody from seeing what is due.
local function helpful(...)
    local answer = redis.pcall(...)
    return (type(answer) ~= 'table' or not answer['err']) and answer or nil
end

local function number_of(key)
    local number = tonumber(helpful('GET', key) or '')
    return number == number and number or nil
end

local following = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local polled = number_of(KEYS[5]) or now
if ARGV[2] ~= '' then
    if now >= polled then
        helpful('SET', KEYS[5], now)
    end
    helpful('ZADD', KEYS[2], now, ARGV[2])
    helpful('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
    -- Polled before the clock was set back; who lives polls again soon.
    helpful('ZREMRANGEBYSCORE', KEYS[2], '(' .. now + ARGV[3], '+inf')
end
local answer = {now, following[2] or '', helpful('GET', KEYS[3]) or '', number_of(KEYS[4]) or 0,
    helpful('ZRANGE', KEYS[2], 0, STEP - 1) or {}, polled - now > tonumber(ARGV[4]) and 1 or 0, 0}
-- In small steps: nobody knows how long names are.
while bytes > 0 and limit > 0 do
    local count = math.min(STEP, limit)
    local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now + ARGV[5], 'WITHSCORES', 'LIMIT', start, count)
    for place = 1, #due, 2 do
        answer[#answer + 1] = due[place]
        answer[#answer + 1] = due[place + 1]
        bytes = bytes - #due[place]
    end
    if #due < 2 * count then
        answer[7] = 1
        break
    end
    start, limit = start + count, limit - count
end
return answer
