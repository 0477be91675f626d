-- Puts a table of schedules into effect. What an error leaves undone is done when it is asked for again, since the table is
-- noted last.
-- KEYS  1 schedules, 2 due times, 3 last steps, 4 names of the table, 5 table in effect, 6 its number, 7 paused schedules,
--       8 schedules that are set aside
-- ARGV  1 now or '', 2 table, 3 the table that must be in effect until then, or '' for any, 4 the number of the last table that
--       is known, then for each schedule: name, definition, when it is due if it is new or has changed, or '' for never
-- Returns the table's number, which is about the time at which it was put into effect, and higher than that of each table
-- before; 0 where another table is in effect.
local now = time_or_now(ARGV[1])
local in_effect = redis.pcall('GET', KEYS[5])
if ARGV[3] ~= '' and in_effect ~= ARGV[3] then
    return 0
end
local named = redis.call('SMEMBERS', KEYS[4])
local names = {}

-- Then what was missed is still due, whatever else has changed.
local function has_same_times(one, other)
    local is_read, kept = pcall(cjson.decode, one or '')
    if not is_read or type(kept) ~= 'table' or type(kept.timing) ~= 'table' then
        return false
    end
    -- Arguments of ours may be nested more deeply than this reads.
    local is_ours_read, ours = pcall(cjson.decode, other)
    if not is_ours_read then
        return one == other
    end
    local timing = ours.timing
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

for place = 5, #ARGV, 3 do
    local name, definition, due = ARGV[place], ARGV[place + 1], ARGV[place + 2]
    names[name] = true
    local is_paused = redis.call('SISMEMBER', KEYS[7], name) == 1
    local kept = redis.call('HGET', KEYS[1], name)
    if kept ~= definition then
        if not has_same_times(kept, definition) then
            redis.call('ZREM', KEYS[2], name)
        end
        redis.call('HSET', KEYS[1], name, definition)
    end
    if not is_paused and due ~= '' then
        redis.call('ZADD', KEYS[2], 'NX', due, name)
    end
    redis.call('SADD', KEYS[4], name)
    redis.pcall('HDEL', KEYS[8], name)
end
for _, name in ipairs(named) do
    if not names[name] then
        redis.call('HDEL', KEYS[1], name)
        redis.call('ZREM', KEYS[2], name)
        redis.pcall('HDEL', KEYS[3], name)
        redis.call('SREM', KEYS[4], name)
        redis.call('SREM', KEYS[7], name)
        redis.pcall('HDEL', KEYS[8], name)
    end
end
local number = tonumber(redis.pcall('GET', KEYS[6])) or 0
if in_effect ~= ARGV[2] or number < tonumber(ARGV[4]) then
    number = math.max(now, number + 1, ARGV[4] + 1)
    redis.call('SET', KEYS[6], string.format('%.0f', number))
end
redis.call('SET', KEYS[5], ARGV[2])
return number
