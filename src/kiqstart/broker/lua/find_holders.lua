-- Looks for messages with a unique key in a page of a stream, or of the delayed messages, and notes where they are.
-- KEYS  1 stream or '', 2... shared
-- ARGV  1 where to begin: an id, or a cursor, 2 how many, 3... unique keys
-- Returns where to go on, or '', then the keys that were found.
local keys = shared_keys(2)
local wanted, answer = {}, {''}
for place = 3, #ARGV do
    wanted[ARGV[place]] = true
end

local function note(unique, task, stream, id)
    if wanted[unique] and redis.call('HGET', keys.uniques, unique) == task then
        note_place(keys, unique, stream, id)
        answer[#answer + 1] = unique
    end
end

if KEYS[1] == keys.messages then
    local page = redis.call('HSCAN', keys.messages, ARGV[1], 'COUNT', ARGV[2])
    for at = 1, #page[2], 2 do
        local _, unique, task = unpack_delayed(page[2][at + 1])
        if unique then
            note(unique, task, '', page[2][at])
        end
    end
    answer[1] = page[1] ~= '0' and page[1] or ''
    return answer
end
local entries = redis.pcall('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
if is_error(entries) then
    return answer
end
for _, entry in ipairs(entries) do
    local fields = {}
    for at = 1, #entry[2], 2 do
        fields[entry[2][at]] = entry[2][at + 1]
    end
    if fields['unique'] then
        note(fields['unique'], fields['task'] or '', KEYS[1], entry[1])
    end
end
if #entries == tonumber(ARGV[2]) then
    answer[1] = '(' .. entries[#entries][1]
end
return answer
