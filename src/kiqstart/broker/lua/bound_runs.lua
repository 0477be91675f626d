-- Drops what is kept of ended runs beyond its bounds: the oldest first, and failed ones only where they are too much themselves.
-- An entry's id is how many runs there ever were, and the time.
-- KEYS  1 runs, 2 failed runs, 3 counts
-- ARGV  1 how many to keep of each, 2 milliseconds to keep runs, 3 milliseconds to keep failed ones, 4 bytes of both
local limit, bytes = tonumber(ARGV[1]), tonumber(ARGV[4])
local now = now_ms()

local function first_from(key, count)
    local found = redis.call('XRANGE', key, string.format('%.0f', count), '+', 'COUNT', 1)[1]
    if not found then
        return nil
    end
    local number, time = string.match(found[1], '^(%d+)-(%d+)$')
    return tonumber(number), tonumber(time)
end

-- The first one that is young enough is between two others: half of these are looked at, and so on.
local function drop_old(key, last, oldest)
    local low, time = first_from(key, 0)
    if not low or time >= oldest then
        return
    end
    local high = math.max(last, low) + 1
    while low < high do
        local middle = math.floor((low + high) / 2)
        local number, its_time = first_from(key, middle)
        if number and its_time < oldest then
            low = number + 1
        else
            high = middle
        end
    end
    redis.call('XTRIM', key, 'MINID', string.format('%.0f', low))
end

-- Gives the first and the last that are left, and the bytes that they take.
local function bound(key, name, age)
    if not unless_foreign('XLEN', key) then
        return 0, 0, 0
    end
    local last = number_of(unless_foreign('HGET', KEYS[3], name))
    redis.call('XTRIM', key, 'MINID', string.format('%.0f', math.max(last - limit, 0)))
    drop_old(key, last, now - age)
    local first = first_from(key, 0)
    if not first or limit == 0 then
        redis.call('DEL', key)
        return 0, 0, 0
    end
    local taken = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', 20)
    return first, last, type(taken) == 'number' and taken or 0
end

local function cut(key, first, last, taken, allowed)
    if taken > allowed then
        local kept = math.floor((last - first + 1) * allowed / taken)
        redis.call('XTRIM', key, 'MINID', string.format('%.0f', math.max(last - kept, 0)))
    end
end

local first, last, taken = bound(KEYS[1], 'runs', tonumber(ARGV[2]))
local first_failed, last_failed, taken_failed = bound(KEYS[2], 'failed', tonumber(ARGV[3]))
-- A storm of failures does not drop all the others.
local allowed_failed = math.max(bytes - taken, bytes * 3 / 4)
cut(KEYS[2], first_failed, last_failed, taken_failed, allowed_failed)
cut(KEYS[1], first, last, taken, bytes - math.min(taken_failed, allowed_failed))
if limit == 0 then
    unless_foreign('DEL', KEYS[3])
end
