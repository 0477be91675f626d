-- Looks at some unique keys and at some of their places: is what holds the key still there? Forgets early acknowledgements of
-- entries that are gone: a worker of an older version has moved them, or somebody has deleted them.
-- KEYS  1... shared
-- ARGV  1 cursor among the keys, 2 among the places, 3 among the early acknowledgements, 4 how many
-- Returns the next cursors, then key, holder and place of each that is not where it was.
local keys = shared_keys(1)
local held = redis.call('HSCAN', keys.uniques, ARGV[1], 'COUNT', ARGV[4])
local placed = redis.call('HSCAN', keys.places, ARGV[2], 'COUNT', ARGV[4])
local early = unless_foreign('HSCAN', early_key(keys), ARGV[3], 'COUNT', ARGV[4]) or {'0', {}}
local answer = {held[1], placed[1], early[1]}

local function is_there(place)
    -- An id may have line breaks, the name of a queue has none.
    local stream, id = string.match(place, '^([^\n]*)\n(.*)$')
    if stream == '' then
        return redis.call('HEXISTS', keys.messages, id) == 1
    end
    local found = stream and redis.pcall('XRANGE', stream, id, id)
    return found and not is_error(found) and #found > 0
end

for at = 1, #held[2], 2 do
    local place = redis.call('HGET', keys.places, held[2][at]) or ''
    if not is_there(place) then
        for _, value in ipairs({held[2][at], held[2][at + 1], place}) do
            answer[#answer + 1] = value
        end
    end
end
for at = 1, #placed[2], 2 do
    if redis.call('HEXISTS', keys.uniques, placed[2][at]) == 0 then
        redis.call('HDEL', keys.places, placed[2][at])
    end
end
for at = 1, #early[2], 2 do
    local entry, stream = string.match(early[2][at], '^(.-)@(.*)$')
    local found = entry and redis.pcall('XRANGE', stream, entry, entry)
    if not found or not is_error(found) and #found == 0 then
        redis.call('HDEL', early_key(keys), early[2][at])
    end
end
return answer
