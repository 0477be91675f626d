-- Marks a task as cancelled, and takes out all that is delayed of it.
-- KEYS  1 result, 2... shared
-- ARGV  1 task, 2 milliseconds for which the mark is kept, 3 how many marks there may be, 4 result of a cancelled task,
--       5 milliseconds to keep it or 0, 6 what the channel's name has beside the result's key, 7 which cancellation it is,
--       8 '1' where this is a further try of it
-- Returns how many were delayed, 1 where the task has a result, and until when the mark is kept. Once a further try has been,
-- any other one, also a first one that comes late, does nothing and is answered the same.
local keys = shared_keys(2)
local now = now_ms()
local answer_key = beside(keys, ':cancel:' .. ARGV[7])
local answer = redis.call('GET', answer_key)
if answer then
    return cmsgpack.unpack(answer)
end
redis.call('ZREMRANGEBYSCORE', keys.cancelled, '-inf', now)
local until_ms = now + ARGV[2]
redis.call('ZADD', keys.cancelled, until_ms, ARGV[1])
-- Whatever has this id is cancelled from now on.
unless_foreign('HDEL', latest_key(keys), KEYS[1])
redis.call('ZREMRANGEBYRANK', keys.cancelled, 0, -(tonumber(ARGV[3]) + 1))
local count = 0
while true do
    local stored = unless_foreign('HGET', keys.messages, ARGV[1])
    local _, unique, task = unpack_delayed(stored or '')
    if task ~= ARGV[1] then
        break
    end
    remove_delayed(keys, ARGV[1], task)
    release(keys, unique, task)
    count = count + 1
end
local has_result = redis.call('EXISTS', KEYS[1])
if count > 0 then
    store_result(KEYS[1], ARGV[4], ARGV[5], ARGV[6])
end
if ARGV[8] == '1' then
    redis.call('SET', answer_key, cmsgpack.pack({count, has_result, until_ms}), 'PX', 3600000)
end
return {count, has_result, until_ms}
