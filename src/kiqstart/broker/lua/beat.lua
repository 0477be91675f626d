-- Renews a worker's lease, where Redis has no memory left for ZADD by itself.
-- KEYS  1 workers
-- ARGV  1 worker, 2 time of this beat
-- Returns the worker's last beat before, or nothing where it is not registered.
return renew_lease(KEYS[1], ARGV[1], ARGV[2])
