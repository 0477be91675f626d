-- Forgets a queue that no worker takes any more and in which nothing is.
-- KEYS  1 queues, 2... its streams
-- ARGV  1 queue
for place = 2, #KEYS do
    local entries = redis.pcall('XLEN', KEYS[place])
    if is_error(entries) or entries > 0 then
        return 0
    end
end
redis.call('DEL', unpack(KEYS, 2))
redis.call('SREM', KEYS[1], ARGV[1])
return 1
