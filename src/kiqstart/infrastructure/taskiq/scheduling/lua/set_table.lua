-- Puts a table of schedules into effect.
-- KEYS  1 schedules, 2 due times, 3 last steps, 4 names of the table, 5 table in effect, 6 paused schedules,
--       7 schedules that are set aside
-- ARGV  1 table, 2 the table that must be in effect until then, or '' for any, then for each schedule: name, definition,
--       when it is due if it is new or has changed, or '' for never
if ARGV[2] ~= '' and redis.call('GET', KEYS[5]) ~= ARGV[2] then
    return 0
end
local names = {}

-- Then what was missed is still due, whatever else has changed.
local function has_same_times(one, other)
    local is_read, kept = pcall(cjson.decode, one or '')
    if not is_read or type(kept) ~= 'table' or type(kept.timing) ~= 'table' then
        return false
    end
    local timing = cjson.decode(other).timing
    for name, value in pairs(timing) do
        if kept.timing[name] ~= value then
            return false
        end
    end
    for name in pairs(kept.timing) do
        if timing[name] == nil then
            return false
        end
    end
    return true
end

for place = 3, #ARGV, 3 do
    local name, definition, due = ARGV[place], ARGV[place + 1], ARGV[place + 2]
    names[name] = true
    local is_paused = redis.call('SISMEMBER', KEYS[6], name) == 1
    local kept = redis.call('HGET', KEYS[1], name)
    if kept ~= definition then
        redis.call('HSET', KEYS[1], name, definition)
        if not has_same_times(kept, definition) then
            redis.call('ZREM', KEYS[2], name)
        end
    end
    if not is_paused and due ~= '' then
        redis.call('ZADD', KEYS[2], 'NX', due, name)
    end
    redis.call('SADD', KEYS[4], name)
    redis.call('HDEL', KEYS[7], name)
end
for _, name in ipairs(redis.call('SMEMBERS', KEYS[4])) do
    if not names[name] then
        redis.call('HDEL', KEYS[1], name)
        redis.call('ZREM', KEYS[2], name)
        redis.call('HDEL', KEYS[3], name)
        redis.call('SREM', KEYS[4], name)
        redis.call('SREM', KEYS[6], name)
        redis.call('HDEL', KEYS[7], name)
    end
end
redis.call('SET', KEYS[5], ARGV[1])
return 1
