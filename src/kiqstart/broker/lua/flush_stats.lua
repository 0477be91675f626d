-- A process adds what it has counted since its last batch. One that arrives twice counts once.
-- KEYS  1 number of the last batch of this process, 2... counts
-- ARGV  1 number of this batch, 2 milliseconds to keep the number, 3 how many fields a key may have, then again and again:
--       the place of a key, milliseconds to keep it or 0, how many fields follow, and these: field, increment
-- Returns 1, or 0 where the batch is counted already.
if number_of(unless_foreign('GET', KEYS[1])) >= tonumber(ARGV[1]) then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local most, at = tonumber(ARGV[3]), 4
while at < #ARGV do
    local key, keep, count = KEYS[tonumber(ARGV[at])], ARGV[at + 1], tonumber(ARGV[at + 2])
    -- What a stranger has put there spoils its own count alone.
    local fields = redis.pcall('HLEN', key)
    local is_full = is_error(fields) or fields + count > most
    for place = at + 3, at + 1 + 2 * count, 2 do
        if not is_full or redis.pcall('HGET', key, ARGV[place]) then
            redis.pcall('HINCRBY', key, ARGV[place], ARGV[place + 1])
        end
    end
    if keep ~= '0' then
        redis.call('PEXPIRE', key, keep)
    end
    at = at + 3 + 2 * count
end
return 1
