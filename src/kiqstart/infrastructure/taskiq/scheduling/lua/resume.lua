-- Lets a paused schedule be due again.
-- KEYS  1 due times, 2 paused schedules
-- ARGV  1 name, 2 when it is due
if redis.call('SREM', KEYS[2], ARGV[1]) == 1 then
    redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
end
return 1
