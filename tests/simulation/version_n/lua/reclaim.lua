-- Gives back what a consumer that is no registered worker has of one stream, and forgets the consumer.
-- KEYS  1 workers, 2 stream, 3 returned, 4 suspects, 5 queue's stream, 6 dead letters, 7 dropped dead letters, 8 unique keys
-- ARGV  1 group, 2 consumer, 3 milliseconds for which an entry must have been with it, 4 how many, 5 deliveries until a
--       message is a dead letter, 6 how many dead letters to keep
-- Returns 1 where there may be more, then how many were given back, then the messages that became dead letters.
if redis.call('ZSCORE', KEYS[1], ARGV[2]) then
    return {0, 0}
end
local pending = redis.pcall('XPENDING', KEYS[2], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4], ARGV[2])
if pending['err'] then
    return {0, 0}
end
local keys = {stream = KEYS[2], returned = KEYS[3], suspects = KEYS[4], queue = KEYS[5], dead = KEYS[6], dropped = KEYS[7],
    uniques = KEYS[8]}
local answer = {#pending == tonumber(ARGV[4]) and 1 or 0, #pending}
for _, one in ipairs(pending) do
    local buried = give_back(keys, ARGV[1], one[1], 1, tonumber(ARGV[5]), ARGV[6], ARGV[2], now_ms())
    if buried then
        table.insert(answer, buried)
    end
end
if #redis.call('XPENDING', KEYS[2], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[2], ARGV[1], ARGV[2])
end
return answer
