-- Hands a registered worker what it can take: of each queue what was given back first, then what is new.
-- KEYS  1 workers, 2 cancelled tasks, then for each queue, in the order of this fetch: suspects, returned, stream
-- ARGV  1 group, 2 worker, 3 how many, 4 how many of them may be suspects
-- Returns 'unknown' for a worker that is not registered, else how many tasks are marked as cancelled, then the streams'
-- places in KEYS and their entries.
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then
    return 'unknown'
end
local room, suspects = tonumber(ARGV[3]), tonumber(ARGV[4])
local answer = {redis.call('ZCARD', KEYS[2])}
for place = 3, #KEYS do
    local is_suspects = place % 3 == 0
    local count = is_suspects and math.min(room, suspects) or room
    if count > 0 then
        local found = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', count, 'STREAMS', KEYS[place], '>')
        if found and found[1] then
            room = room - #found[1][2]
            if is_suspects then
                suspects = suspects - #found[1][2]
            end
            table.insert(answer, place)
            table.insert(answer, found[1][2])
        end
    end
end
return answer
