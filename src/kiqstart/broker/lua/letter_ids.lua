-- Gives the ids of dead letters without what these hold, the oldest first.
-- KEYS  1 dead letters
-- ARGV  1 '-', or '(' and the id of the last one that was given, 2 how many at most, 3 about how many bytes to look through
local ids = {}
for _, entry in ipairs(page_of('XRANGE', KEYS[1], ARGV[1], ARGV[2], ARGV[3])) do
    ids[#ids + 1] = entry[1]
end
return ids
