-- Renews a worker's lease, where ZADD by itself does not do: Redis has no memory left, or beats before had no answer.
-- KEYS  1 workers
-- ARGV  1 worker, 2 this beat, 3 beats that are possible before it
-- Returns the worker's last beat before, or nothing where it is not registered.
return renew_lease(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
