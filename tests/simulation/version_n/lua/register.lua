-- Makes a worker known, with the groups that it reads by. Again makes it known again.
-- KEYS  1 workers, 2 epoch, 3 queues, 4... streams
-- ARGV  1 group, 2 worker, 3 a new epoch where there is none, 4... names of the queues
-- Returns the epoch.
-- Removes nothing, but a Redis that is full lets a script go on whose first command that writes frees memory.
redis.call('ZREM', KEYS[1], '')
for place = 4, #KEYS do
    local made = redis.pcall('XGROUP', 'CREATE', KEYS[place], ARGV[1], '0', 'MKSTREAM')
    if type(made) == 'table' and made['err'] and not string.find(made['err'], 'BUSYGROUP') then
        return redis.error_reply(made['err'] .. ' (key ' .. KEYS[place] .. ')')
    end
end
redis.call('SET', KEYS[2], ARGV[3], 'NX')
redis.call('SADD', KEYS[3], unpack(ARGV, 4))
redis.call('ZADD', KEYS[1], now_ms(), ARGV[2])
return redis.call('GET', KEYS[2])
