-- Looks through a stream's messages, oldest first, for those that hold a text.
-- KEYS  1 stream
-- ARGV  1 where to begin, 2 how many bytes to look through, about, 3 text
-- Returns where to go on, or '' at the end, how many messages were looked through, then entries.
local MOST, BYTES_AT_ONCE = 200, 65536
local after, bytes, step, answer = ARGV[1], tonumber(ARGV[2]), 10, {'', 0}
while bytes > 0 do
    local entries, size = redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', step), 1
    for _, entry in ipairs(entries) do
        local fields = entry[2]
        for place = 1, #fields, 2 do
            size = size + #fields[place + 1]
            if fields[place] == 'data' and string.find(fields[place + 1], ARGV[3], 1, true) then
                answer[#answer + 1] = entry
            end
        end
    end
    answer[2] = answer[2] + #entries
    if #entries < step then
        return answer
    end
    after = '(' .. entries[#entries][1]
    bytes = bytes - size
    -- Messages that are large are read one by one.
    step = math.max(math.min(2 * step, MOST, math.floor(step * BYTES_AT_ONCE / size)), 1)
end
answer[1] = after
return answer
