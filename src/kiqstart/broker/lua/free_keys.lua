-- Frees unique keys whose holders are nowhere.
-- KEYS  1... shared
-- ARGV  for each: key, task that holds it, place where it was not
-- Returns how many were freed.
local keys, count = shared_keys(1), 0
for at = 1, #ARGV, 3 do
    local is_same = (redis.call('HGET', keys.places, ARGV[at]) or '') == ARGV[at + 2]
    if is_same and redis.call('HGET', keys.uniques, ARGV[at]) == ARGV[at + 1] then
        release(keys, ARGV[at], ARGV[at + 1])
        count = count + 1
    end
end
return count
