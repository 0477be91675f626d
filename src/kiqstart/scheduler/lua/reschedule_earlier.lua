-- Lets schedules be due earlier than they are: the clock was set back.
-- KEYS  1 due times
-- ARGV  for each: name, when it was due, when it is due
for place = 1, #ARGV, 3 do
    if redis.call('ZSCORE', KEYS[1], ARGV[place]) == ARGV[place + 1] then
        redis.call('ZADD', KEYS[1], ARGV[place + 2], ARGV[place])
    end
end
return 1
