-- Reads dead letters that came after one, the oldest first: as many as are asked for, or fewer where these are large.
-- KEYS  1 dead letters
-- ARGV  1 '-', or '(' and the id of that one, 2 how many at most, 3 about how many bytes
-- Returns how many there are, the ids of the first and the last of them or '', then for each that is read its id, and its
-- fields and their values one after the other.
local function id_at(command, start, stop)
    local entry = redis.call(command, KEYS[1], start, stop, 'COUNT', 1)[1]
    return entry and entry[1] or ''
end

local answer = {redis.call('XLEN', KEYS[1]), id_at('XRANGE', '-', '+'), id_at('XREVRANGE', '+', '-')}
for _, entry in ipairs(page_of('XRANGE', KEYS[1], ARGV[1], ARGV[2], ARGV[3])) do
    answer[#answer + 1] = entry
end
return answer
