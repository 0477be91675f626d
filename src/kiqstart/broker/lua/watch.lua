-- A worker's beat, with which it looks whether others are late with theirs, and what the janitor says.
-- KEYS  1 workers, 2 janitor
-- ARGV  1 worker, 2 this beat, 3 beats that are possible before it, 4 time before which a beat is late, 5 how many late workers
--       at most, 6 what the janitor said when this worker looked last, or ''
-- Returns 0 for a worker that is not registered; else 1, what the janitor says, 1 where its role is free, and late workers with
-- the time of their last beat, and this worker's last beat before.
local before = renew_lease(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
if not before then
    return {0}
end
local role = unless_foreign('GET', KEYS[2]) or ''
local janitor = string.match(role, '^[^|]*')
-- One that has said something since is registered.
local has_tended = ARGV[6] ~= '' and role ~= ARGV[6]
local is_free = janitor == '' or not (has_tended or redis.call('ZSCORE', KEYS[1], janitor))
return {1, role, is_free and 1 or 0,
    redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[4], 'WITHSCORES', 'LIMIT', 0, ARGV[5]), before}
