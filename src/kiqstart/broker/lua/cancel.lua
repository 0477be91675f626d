-- Marks a task as cancelled, and takes out all that is delayed of it.
-- KEYS  1 result, 2... shared
-- ARGV  1 task, 2 milliseconds for which the mark is kept, 3 how many marks there may be, 4 result of a cancelled task,
--       5 milliseconds to keep it or 0, 6 what the channel's name has beside the result's key
-- Returns how many were delayed, and 1 where the task has a result.
local keys = shared_keys(2)
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', keys.cancelled, '-inf', now)
redis.call('ZADD', keys.cancelled, now + ARGV[2], ARGV[1])
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
return {count, has_result}
