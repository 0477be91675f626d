-- Hands a registered worker messages that others have left to it, by way of the stream of what was given back: what waits there
-- is handed to it first.
-- KEYS  1 workers, 2 stream of what was left, 3 returned, 4... shared
-- ARGV  1 group, 2 worker, 3 how many at most, 4... entries
-- Returns 'unknown' for a worker that is not registered, else how many tasks are marked as cancelled, then entries that are
-- the worker's now.
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then
    return 'unknown'
end
local keys, room = shared_keys(4), tonumber(ARGV[3])
-- Raises where this user may not take entries out: what is added would then be there twice.
remove_misfit(keys, KEYS[2], '0-0')
local answer = {unless_foreign('ZCARD', keys.cancelled) or 0}

local function read(count)
    local found = count > 0 and redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', count, 'STREAMS', KEYS[3], '>')
    for _, entry in ipairs(found and found[1] and found[1][2] or {}) do
        answer[#answer + 1] = entry
        room = room - 1
    end
end

read(room)
local added = 0
for place = 4, #ARGV do
    local fields = added < room and fields_of(KEYS[2], ARGV[place])
    if fields and not is_error(add_again(keys, KEYS[3], '*', fields)) then
        added = added + 1
        remove_misfit(keys, KEYS[2], ARGV[place])
    elseif fields == nil then
        -- It was taken out by hand.
        remove_misfit(keys, KEYS[2], ARGV[place])
    end
end
read(added)
return answer
