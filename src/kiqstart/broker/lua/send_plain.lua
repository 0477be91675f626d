-- What `send` does, for a batch of messages that are simply added to their streams.
-- KEYS  1 this sender's last batch, 2 unique keys, which the names of other keys are made of, then streams
-- ARGV  1 number of this batch, 2 milliseconds to remember it, 3 how many messages a stream may hold, or 0 for any number,
--       then again and again a stream's place in KEYS, how many messages follow that are added to it, and these
-- Returns what is not simply "sent": place, 'error', text; or place, 'full', 'queue'.
local before = answer_to_batch(KEYS[1], ARGV[1], ARGV[2])
if before then
    return before
end
local keys, answer, limit = {uniques = KEYS[2]}, {}, tonumber(ARGV[3])
local at, place = 4, 0
while at < #ARGV do
    local count = tonumber(ARGV[at + 1])
    add_plain(keys, KEYS[tonumber(ARGV[at])], at + 2, count, limit, answer, place)
    place = place + count
    at = at + 2 + count
end
return answer_batch(KEYS[1], ARGV[1], ARGV[2], answer)
