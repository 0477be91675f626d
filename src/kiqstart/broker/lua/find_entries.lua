-- Looks through a stream for entries with certain texts: of runs that have ended for blocks, of a queue for messages.
-- KEYS  1 stream
-- ARGV  1 where to begin, 2 'newest' or 'oldest' for which come first, 3 how many bytes to look through, about,
--       4... texts, all of which an entry has to hold
-- Returns where to go on, or '' at the end, then entries.
-- How large entries are nobody knows: few at first.
local FIRST_STEP, LAST_STEP = 8, 100
local start, bytes, step, answer = ARGV[1], tonumber(ARGV[3]), FIRST_STEP, {''}

local function read()
    if ARGV[2] == 'oldest' then
        return redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', step)
    end
    return redis.call('XREVRANGE', KEYS[1], start, '-', 'COUNT', step)
end

local function text_of(fields)
    for place = 1, #fields, 2 do
        if fields[place] == 'runs' or fields[place] == 'data' then
            return fields[place + 1]
        end
    end
    return ''
end

while bytes > 0 do
    local entries, size = read(), 1
    for _, entry in ipairs(entries) do
        local text, has_all = text_of(entry[2]), true
        size = size + #text
        for place = 4, #ARGV do
            has_all = has_all and string.find(text, ARGV[place], 1, true)
        end
        if has_all then
            answer[#answer + 1] = entry
        end
    end
    if #entries < step then
        return answer
    end
    bytes = bytes - size
    start = '(' .. entries[#entries][1]
    step = math.max(math.min(2 * step, LAST_STEP, math.floor(bytes * #entries / size)), 1)
end
answer[1] = start
return answer
