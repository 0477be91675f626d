-- Stores a result that does not come with the end of a delivery, and announces it.
-- KEYS  1 result
-- ARGV  1 result, 2 milliseconds to keep it or 0, 3 what the channel's name has beside the key's
return store_result(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) or 1
