-- A worker gives back entries that it has not run to their end; this counts as no delivery.
-- KEYS  1 stream, 2 returned, 3 suspects, 4 queue's stream, 5 dead letters, 6 dropped dead letters, 7 unique keys
-- ARGV  1 group, 2 worker, 3 deliveries until a message is a dead letter, 4 how many dead letters to keep, 5... entries
local keys = {stream = KEYS[1], returned = KEYS[2], suspects = KEYS[3], queue = KEYS[4], dead = KEYS[5], dropped = KEYS[6],
    uniques = KEYS[7]}
for place = 5, #ARGV do
    give_back(keys, ARGV[1], ARGV[place], 0, tonumber(ARGV[3]), ARGV[4], ARGV[2], now_ms())
end
return #ARGV - 4
