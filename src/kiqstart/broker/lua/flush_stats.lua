-- A worker adds what it has counted since its last batch. One that arrives twice counts once.
-- KEYS  1 counts, 2 counts of this hour, 3 number of the last batch of this process
-- ARGV  1 number of this batch, 2 milliseconds to keep the hour's counts, 3 those to keep the number, 4... field, increment
-- Returns 1, or 0 where the batch is counted already.
if number_of(unless_foreign('GET', KEYS[3])) >= tonumber(ARGV[1]) then
    return 0
end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[3])
for _, key in ipairs({KEYS[1], KEYS[2]}) do
    for place = 4, #ARGV, 2 do
        -- What a stranger has put there spoils its own count alone.
        redis.pcall('HINCRBY', key, ARGV[place], ARGV[place + 1])
    end
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
