-- Reads delayed messages: those of the ids, in this order, or the first of them where these are large, but never none.
-- KEYS  1 messages
-- ARGV  1 about how many bytes, 2... ids
-- Returns for each that was read its stream, its task and its message, or nothing of one that is gone or has another layout.
local answer, size = {}, 0
for place = 2, #ARGV do
    local stored = redis.call('HGET', KEYS[1], ARGV[place]) or ''
    local stream, _, task, message = unpack_delayed(stored)
    answer[#answer + 1] = stream and {stream, task, message} or {}
    size = size + #stored
    if size >= tonumber(ARGV[1]) then
        break
    end
end
return answer
