-- Ends a batch of deliveries, each only where its worker still has it, or where Redis has lost what it knew.
-- KEYS  1 epoch, 2 unique keys, 3 delayed ids, 4 delayed messages, 5 dead letters, 6 dropped dead letters, 7...
-- ARGV  1 group, 2 how many dead letters to keep, then for each delivery:
--       place of its stream in KEYS, entry, epoch of its delivery, task, unique key or '',
--       place of its result's key in KEYS or 0, result, milliseconds to keep it or 0,
--       'done', 'again' or 'dead'; then for 'again' the stream's place in KEYS, the delay in milliseconds and the message;
--       for 'dead' the key of the queue's stream, reason, detail, message, deliveries, time of the first delivery
-- Returns the places of deliveries that their worker no longer had: nothing was done for them.
local SHARED, DETAILS = 9, 6
local now = now_ms()
local lost = {}
for place = 1, (#ARGV - 2) / (SHARED + DETAILS) do
    local at = 2 + (place - 1) * (SHARED + DETAILS)
    local stream, entry, task, unique = KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], ARGV[at + 4], ARGV[at + 5]
    local owned = redis.call('XACK', stream, ARGV[1], entry) == 1
    if owned then
        redis.call('XDEL', stream, entry)
    end
    if owned or redis.call('GET', KEYS[1]) ~= ARGV[at + 3] then
        local result, outcome = tonumber(ARGV[at + 6]), ARGV[at + 9]
        if outcome == 'again' then
            local target, delay = KEYS[tonumber(ARGV[at + 10])], tonumber(ARGV[at + 11])
            enqueue(KEYS[3], KEYS[4], target, now, delay, unique, task, ARGV[at + 12])
        else
            release(KEYS[2], unique, task)
        end
        if outcome == 'dead' then
            bury(KEYS[5], KEYS[6], ARGV[2], {
                'data', ARGV[at + 13], 'queue', ARGV[at + 10], 'reason', ARGV[at + 11], 'detail', ARGV[at + 12],
                'deliveries', ARGV[at + 14], 'first', ARGV[at + 15], 'last', now})
        end
        if result > 0 then
            if ARGV[at + 8] == '0' then
                redis.call('SET', KEYS[result], ARGV[at + 7])
            else
                redis.call('SET', KEYS[result], ARGV[at + 7], 'PX', ARGV[at + 8])
            end
            redis.call('PUBLISH', KEYS[result], '1')
        end
    else
        table.insert(lost, place)
    end
end
return lost
