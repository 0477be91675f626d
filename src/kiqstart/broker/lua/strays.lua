-- Finds what a worker has been handed some time ago.
-- KEYS  streams
-- ARGV  1 group, 2 worker, 3 milliseconds for which an entry must have been with it
-- Returns the entries of each stream.
local PAGE = 1000
local answer = {}
for place, stream in ipairs(KEYS) do
    local entries, start = {}, '-'
    repeat
        local page = redis.pcall('XPENDING', stream, ARGV[1], 'IDLE', ARGV[3], start, '+', PAGE, ARGV[2])
        -- No such group: nothing was ever read from it.
        page = is_error(page) and {} or page
        for _, one in ipairs(page) do
            entries[#entries + 1] = one[1]
        end
        start = '(' .. (entries[#entries] or '')
    until #page < PAGE
    answer[place] = entries
end
return answer
