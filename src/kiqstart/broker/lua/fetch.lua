-- Hands a registered worker what it can take: of each queue what was given back first, then what is new.
-- KEYS  1 workers, 2 cancelled tasks, 3 what is paused, then for each queue, in the order of this fetch: isolated, suspects, returned, stream
-- ARGV  1 group, 2 worker, 3 how many, 4 whether suspects are taken: 'none', 'one' beside the others, or 'ward' for a worker
--       that has nothing and takes nothing else; 5 how many make a ward, 6 up to how many that wait are taken one by one,
--       7 bytes from which on no more is read
-- Returns 'unknown' for a worker that is not registered, else what is marked as cancelled, or, where that is much, how much; then
-- the streams' places in KEYS and their entries, and last, if anything is paused, 0 and what is.
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then
    return 'unknown'
end
local room, rule, bytes = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[7])
-- Nobody knows how large the next messages are: of each stream, few first, then twice as many, and so on.
local FIRST_STEP = 4
local MOST_MARKS = 20
local marks = unless_foreign('ZCARD', KEYS[2]) or 0
if marks > 0 and marks <= MOST_MARKS then
    marks = redis.call('ZRANGE', KEYS[2], 0, -1)
end
local answer = {marks}
local paused, is_paused = unless_foreign('HKEYS', KEYS[3]) or {}, {}
for _, field in ipairs(paused) do
    is_paused[field] = true
end
-- Where the streams of queues begin in KEYS that are not paused.
local FIRSTS = {}
for first = 4, #KEYS, 4 do
    if not is_paused['queue:' .. KEYS[first + 3]] then
        FIRSTS[#FIRSTS + 1] = first
    end
end

local function read(place, count)
    local found = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', count, 'STREAMS', KEYS[place], '>')
    if not found or not found[1] then
        return 0
    end
    table.insert(answer, place)
    table.insert(answer, found[1][2])
    local entries = found[1][2]
    for number = 1, #entries do
        local fields = entries[number][2] or {}
        for at = 1, #fields do
            bytes = bytes - #fields[at]
        end
    end
    return #entries
end

local function read_many(place)
    local count = math.min(FIRST_STEP, room)
    while count > 0 and bytes > 0 do
        local before = bytes
        local found = read(place, count)
        room = room - found
        if found < count then
            return
        end
        local usual = math.max((before - bytes) / found, 1)
        count = math.min(2 * count, room, math.max(math.floor(bytes / usual), 1))
    end
end

local function waiting(place)
    local entries = redis.call('XLEN', KEYS[place])
    return entries > 0 and entries - redis.call('XPENDING', KEYS[place], ARGV[1])[1] or 0
end

-- One that took its worker down among others is alone; of many that have not, several are tried at once.
local function read_suspects()
    for _, place in ipairs(FIRSTS) do
        if waiting(place) > 0 and read(place, 1) > 0 then
            return 1
        end
        local suspects = waiting(place + 1)
        local count = rule == 'ward' and suspects > tonumber(ARGV[6]) and tonumber(ARGV[5]) or 1
        local found = suspects > 0 and read(place + 1, count) or 0
        if found > 0 then
            return found
        end
    end
    return 0
end

if rule ~= 'none' and room > 0 then
    room = room - read_suspects()
end
if rule ~= 'ward' then
    for _, place in ipairs(FIRSTS) do
        for offset = 2, 3 do
            read_many(place + offset)
        end
    end
end
if #paused > 0 then
    answer[#answer + 1] = 0
    answer[#answer + 1] = paused
end
return answer
