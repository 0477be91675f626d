-- Adds or changes schedules that are in no table.
-- KEYS  1 schedules, 2 due times, 3 names of the table, 4 paused schedules, 5 schedules that are set aside
-- ARGV  for each schedule: name, definition, when it is due
-- Returns for each 1, or 0 where the table has the name.
local answer = {}
for place = 1, #ARGV, 3 do
    local name, kept = ARGV[place], 0
    if redis.call('SISMEMBER', KEYS[3], name) == 0 then
        redis.call('HSET', KEYS[1], name, ARGV[place + 1])
        redis.call('ZADD', KEYS[2], ARGV[place + 2], name)
        redis.call('SREM', KEYS[4], name)
        redis.call('HDEL', KEYS[5], name)
        kept = 1
    end
    table.insert(answer, kept)
end
return answer
