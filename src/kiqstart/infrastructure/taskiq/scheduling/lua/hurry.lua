-- Lets schedules be due earlier than they are: the clock was set back.
-- KEYS  1 schedules, 2 due times
-- ARGV  for each: name, definition, when it is due
for place = 1, #ARGV, 3 do
    local due = redis.call('ZSCORE', KEYS[2], ARGV[place])
    if due and tonumber(due) > tonumber(ARGV[place + 2]) and redis.call('HGET', KEYS[1], ARGV[place]) == ARGV[place + 1] then
        redis.call('ZADD', KEYS[2], ARGV[place + 2], ARGV[place])
    end
end
return 1
