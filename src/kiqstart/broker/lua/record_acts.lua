-- Keeps what operators did, and drops what is too old or too many.
-- KEYS  1 acts
-- ARGV  1 how many to keep, about, 2 milliseconds to keep them, 3 how many fields each has, 4... their names and values
-- Returns the time.
local now, width = now_ms(), tonumber(ARGV[3]) * 2
-- Comes first: a Redis that is full lets a script go on whose first command that writes frees memory.
redis.call('XTRIM', KEYS[1], 'MINID', '~', math.max(now - ARGV[2], 0))
for first = 4, #ARGV, width do
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, first, first + width - 1))
end
return now
