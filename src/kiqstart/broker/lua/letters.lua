-- Reads dead letters, the newest first: as many as are asked for, or fewer where these are large, but never none.
-- KEYS  1 dead letters
-- ARGV  1 '+', or '(' and the id of the last one that was read, 2 how many at most, 3 about how many bytes
-- Returns for each its id, and its fields and their values one after the other.
local found, bytes, before = {}, 0, ARGV[1]
while #found < tonumber(ARGV[2]) and bytes < tonumber(ARGV[3]) do
    local entry = redis.call('XREVRANGE', KEYS[1], before, '-', 'COUNT', 1)[1]
    if not entry then
        break
    end
    for _, part in ipairs(entry[2]) do
        bytes = bytes + #part
    end
    found[#found + 1] = entry
    before = '(' .. entry[1]
end
return found
