-- Stores a result that does not come with the end of a delivery, and announces it.
-- KEYS  1 result
-- ARGV  1 result, 2 milliseconds to keep it or 0
if ARGV[2] == '0' then
    redis.call('SET', KEYS[1], ARGV[1])
else
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
redis.call('PUBLISH', KEYS[1], '1')
return 1
