-- Gives the answer to a scheduler's last script again.
-- KEYS  1 answer to this scheduler's last script
-- ARGV  1 number of the script
-- Returns what it returned; nothing where it was not run.
local remembered = redis.pcall('GET', KEYS[1])
local number, packed = string.match(type(remembered) == 'string' and remembered or '', '^(%d+)\n(.*)$')
return number == ARGV[1] and cmsgpack.unpack(packed) or {}
