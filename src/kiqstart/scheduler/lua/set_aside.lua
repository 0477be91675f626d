-- Keeps a schedule that nobody can read where nobody looks for what is due.
-- KEYS  1 schedules, 2 due times, 3 schedules that are set aside, 4 last steps
-- ARGV  1 name, 2 when it was due, 3 SHA-1 of its definition, of nothing where that is too large to be read, or '' where there
--       is none, 4 bytes of one that is too large, 5 how many are set aside at most
-- Returns 1 where it was done, 0 where too many are set aside, and -1 where it is another one by now.
local definition = redis.call('HGET', KEYS[1], ARGV[1])
local read = definition and #definition > tonumber(ARGV[4]) and '' or definition
if redis.call('ZSCORE', KEYS[2], ARGV[1]) ~= ARGV[2] or (read and redis.sha1hex(read) or '') ~= ARGV[3] then
    return -1
end
if definition then
    if redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[5]) then
        return 0
    end
    redis.call('HSET', KEYS[3], ARGV[1], definition)
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.pcall('HDEL', KEYS[4], ARGV[1])
end
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
