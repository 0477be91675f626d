-- Hands a registered worker what it can take: of each queue what was given back first, then what is new.
-- KEYS  1 workers, 2 cancelled tasks, then for each queue, in the order of this fetch: suspects, returned, stream
-- ARGV  1 group, 2 worker, 3 how many, 4 what to do about suspects: 'take' one, and then nothing else; 'wait' for empty
--       hands, and take nothing while one waits; 'leave' them
-- Returns 'unknown' for a worker that is not registered, 'suspect' where it has to wait, else how many tasks are marked as
-- cancelled, then the streams' places in KEYS and their entries.
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then
    return 'unknown'
end
local room = tonumber(ARGV[3])
local answer = {redis.call('ZCARD', KEYS[2])}

local function read(place, count)
    local found = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', count, 'STREAMS', KEYS[place], '>')
    if not found or not found[1] then
        return 0
    end
    table.insert(answer, place)
    table.insert(answer, found[1][2])
    return #found[1][2]
end

if ARGV[4] ~= 'leave' then
    for place = 3, #KEYS, 3 do
        local entries = redis.call('XLEN', KEYS[place])
        if entries > 0 and entries > redis.call('XPENDING', KEYS[place], ARGV[1])[1] then
            if ARGV[4] == 'wait' then
                return 'suspect'
            end
            if read(place, 1) > 0 then
                return answer
            end
        end
    end
end
for place = 3, #KEYS do
    if place % 3 ~= 0 and room > 0 then
        room = room - read(place, room)
    end
end
return answer
