-- Looks at the places of some unique keys: is what holds the key still there?
-- KEYS  1... shared
-- ARGV  1 cursor, 2 how many
-- Returns the next cursor, then key, holder and place of each that is not where it was.
local keys = shared_keys(1)
local page = redis.call('HSCAN', keys.places, ARGV[1], 'COUNT', ARGV[2])
local answer = {page[1]}

local function is_there(place)
    -- An id may have line breaks, the name of a queue has none.
    local stream, id = string.match(place, '^([^\n]*)\n(.*)$')
    if stream == '' then
        return redis.call('HEXISTS', keys.messages, id) == 1
    end
    local found = stream and redis.pcall('XRANGE', stream, id, id)
    return found and not is_error(found) and #found > 0
end

for at = 1, #page[2], 2 do
    local unique, place = page[2][at], page[2][at + 1]
    local task = redis.call('HGET', keys.uniques, unique)
    if not task then
        redis.call('HDEL', keys.places, unique)
    elseif not is_there(place) then
        for _, value in ipairs({unique, task, place}) do
            answer[#answer + 1] = value
        end
    end
end
return answer
