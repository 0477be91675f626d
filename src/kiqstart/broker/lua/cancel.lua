-- Marks a task as cancelled, and takes out all that is delayed of it.
-- KEYS  1 result, 2... shared
-- ARGV  1 task, 2 milliseconds for which the mark is kept, 3 how many marks there may be, 4 result of a cancelled task,
--       5 milliseconds to keep it or 0, 6 what the channel's name has beside the result's key, 7 which cancellation it is,
--       8 '1' where this is a further try of it, 9 milliseconds for which there may be a further try
-- Returns how many were delayed, 1 where the task has a result, and until when the mark is kept. A further try does nothing and
-- is answered the same, so that it counts as no other cancellation; and once there was one, so is any other try, also a first one
-- that comes late.
local ANSWER_MS = 3600000
local keys = shared_keys(2)
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', keys.cancelled, '-inf', now)
local answer_key, is_further = beside(keys, ':cancel:' .. ARGV[7]), ARGV[8] == '1'
local answer = redis.call('GET', answer_key)
if answer then
    if is_further then
        redis.call('SET', answer_key, answer, 'PX', ANSWER_MS)
    end
    return cmsgpack.unpack(answer)
end
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
redis.call('SET', answer_key, cmsgpack.pack({count, has_result, until_ms}), 'PX', is_further and ANSWER_MS or ARGV[9])
return {count, has_result, until_ms}
