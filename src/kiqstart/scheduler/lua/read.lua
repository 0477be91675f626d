-- Gives the definitions of some schedules: of the first ones, where they are large.
-- KEYS  1 schedules
-- ARGV  1 bytes after which no further one is read, 2 bytes of one that is too large to be read, then names
-- Returns for each of the first ones its definition, false where there is none, and its length where it is too large.
local answer, bytes = {}, tonumber(ARGV[1])
for place = 3, #ARGV do
    local length = redis.call('HSTRLEN', KEYS[1], ARGV[place])
    local definition = length > tonumber(ARGV[2]) and length or redis.call('HGET', KEYS[1], ARGV[place])
    answer[place - 2] = definition
    bytes = bytes - (type(definition) == 'string' and #definition or 0)
    if bytes <= 0 then
        break
    end
end
return answer
