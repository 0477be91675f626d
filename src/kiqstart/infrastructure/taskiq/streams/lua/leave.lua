-- A worker that has nothing left goes: its lease ends, and the streams forget it where nothing is pending.
-- KEYS  1 workers, 2 janitor, 3... streams
-- ARGV  1 group, 2 worker
redis.call('ZREM', KEYS[1], ARGV[2])
if redis.call('GET', KEYS[2]) == ARGV[2] then
    redis.call('DEL', KEYS[2])
end
for place = 3, #KEYS do
    local pending = redis.pcall('XPENDING', KEYS[place], ARGV[1], '-', '+', 1, ARGV[2])
    if not pending['err'] and #pending == 0 then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[place], ARGV[1], ARGV[2])
    end
end
return 1
