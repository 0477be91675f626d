-- Forgets queues that no worker takes and in which nothing is.
-- KEYS  1 what they are known by, then for each its streams
-- ARGV  1... queues
-- Returns those that are forgotten.
local count, forgotten = (#KEYS - 1) / #ARGV, {}

local function is_empty(first)
    for place = first, first + count - 1 do
        local entries = redis.pcall('XLEN', KEYS[place])
        if is_error(entries) or entries > 0 then
            return false
        end
    end
    return true
end

for place, queue in ipairs(ARGV) do
    local first = 2 + (place - 1) * count
    if is_empty(first) then
        redis.call('DEL', unpack(KEYS, first, first + count - 1))
        redis.call('SREM', KEYS[1], queue)
        forgotten[#forgotten + 1] = queue
    end
end
return forgotten
