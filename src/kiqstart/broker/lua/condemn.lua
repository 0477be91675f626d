-- Makes a pending entry of a worker that is gone a dead letter, with the result that its caller gets. May be repeated.
-- KEYS  1 workers, 2 stream, 3 result, 4... shared
-- ARGV  1 group, 2 worker that is gone, 3 entry, 4 how many dead letters to keep, 5 key of its queue's stream, 6 reason,
--       7 detail, 8 deaths, 9 message, 10 task or '', 11 unique key or '', 12 result or '', 13 milliseconds to keep it or 0,
--       14 what the channel's name has beside the result's key, 15 which send of its id it is or '',
--       16 how many ended runs to keep or 0, 17 what to keep of how it has ended
-- Returns 1 where it was done now.
if redis.call('ZSCORE', KEYS[1], ARGV[2]) or owner_of(KEYS[2], ARGV[1], ARGV[3]) ~= ARGV[2] then
    return 0
end
local keys = shared_keys(4)
check_removal(KEYS[2], ARGV[1])
check_forgetting(keys)
local fields = fields_of(KEYS[2], ARGV[3]) or {}
local problem = bury(keys, ARGV[4], {
    'data', ARGV[9], 'queue', ARGV[5], 'reason', ARGV[6], 'detail', ARGV[7], 'deliveries', ARGV[8],
    'first', fields['first'] or string.match(ARGV[3], '^%d+'), 'last', now_ms()})
if problem then
    return problem
end
release(keys, ARGV[11], ARGV[10])
if ARGV[12] ~= '' then
    local was_marked = unless_foreign('ZREM', keys.cancelled, mark_of(KEYS[2], ARGV[3])) == 1
    -- What cannot be read does not say it.
    local send = ARGV[15] ~= '' and ARGV[15] or unless_foreign('HGET', latest_key(keys), KEYS[3]) or ''
    store_outcome(keys, was_marked, send, KEYS[3], ARGV[12], ARGV[13], ARGV[14])
end
forget_entry(KEYS[2], ARGV[1], ARGV[3])
if ARGV[16] ~= '0' then
    keep_runs(keys, tonumber(ARGV[16]), ARGV[17], 1)
end
return 1
