-- A worker that has nothing left goes: its lease ends, the streams forget it where nothing is pending, and the role of the
-- janitor goes to the worker that has beaten last.
-- KEYS  1 workers, 2 janitor, 3 draining workers, 4 what is known of workers, 5... streams
-- ARGV  1 group, 2 worker
redis.call('ZREM', KEYS[1], ARGV[2])
unless_foreign('SREM', KEYS[3], ARGV[2])
unless_foreign('HDEL', KEYS[4], ARGV[2])
unless_foreign('HDEL', KEYS[1] .. ':running', ARGV[2])
redis.call('DEL', KEYS[1] .. ':load:' .. ARGV[2])
if string.match(unless_foreign('GET', KEYS[2]) or '', '^[^|]*') == ARGV[2] then
    local heir = nil
    for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, 50, 'REV')) do
        -- Not one that runs suspects, which may take it down.
        heir = heir or (string.sub(name, 1, 5) ~= 'kiq-w' and name)
    end
    if heir then
        redis.call('SET', KEYS[2], heir .. '|' .. redis.call('ZCARD', KEYS[1]) .. '|0')
    else
        redis.call('DEL', KEYS[2])
    end
end
for place = 5, #KEYS do
    local pending = redis.pcall('XPENDING', KEYS[place], ARGV[1], '-', '+', 1, ARGV[2])
    if not is_error(pending) and #pending == 0 then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[place], ARGV[1], ARGV[2])
    end
end
return 1
