-- Gives the ids of dead letters without what these hold, the oldest first.
-- KEYS  1 dead letters
-- ARGV  1 '-', or '(' and the id of the last one that was given, 2 how many at most, 3 about how many bytes to look through
local found, bytes, after = {}, 0, ARGV[1]
while #found < tonumber(ARGV[2]) and bytes < tonumber(ARGV[3]) do
    local entry = redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', 1)[1]
    if not entry then
        break
    end
    for _, part in ipairs(entry[2]) do
        bytes = bytes + #part
    end
    found[#found + 1] = entry[1]
    after = '(' .. entry[1]
end
return found
