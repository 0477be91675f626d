-- Looks through runs that have ended, newest first, for blocks with certain texts.
-- KEYS  1 runs
-- ARGV  1 where to begin, 2 how many bytes to look through, about, 3... texts, all of which a block has to hold
-- Returns where to go on, or '' at the end, then entries.
local STEP = 100
local before, bytes, answer = ARGV[1], tonumber(ARGV[2]), {''}
while bytes > 0 do
    local entries = redis.call('XREVRANGE', KEYS[1], before, '-', 'COUNT', STEP)
    for _, entry in ipairs(entries) do
        local block, has_all = entry[2][2] or '', true
        bytes = bytes - #block
        for place = 3, #ARGV do
            has_all = has_all and string.find(block, ARGV[place], 1, true)
        end
        if has_all then
            answer[#answer + 1] = entry
        end
    end
    if #entries < STEP then
        return answer
    end
    before = '(' .. entries[#entries][1]
end
answer[1] = before
return answer
