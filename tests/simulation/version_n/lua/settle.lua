-- Ends a batch of deliveries, each only where its worker still has it, or where Redis has lost what it knew.
-- KEYS  1 epoch, 2 unique keys, 3 delayed ids, 4 delayed messages, 5 dead letters, 6 dropped dead letters, then for each
--       run the stream, for a single delivery that of its next try or its queue, and the key of each result that is none
--       of ''
-- ARGV  1 group, 2 how many dead letters to keep, 3 milliseconds to keep a result or 0, then runs of deliveries:
--       how many that have simply ended, or 0 for a single one with all that it has; epoch of the deliveries;
--       of a single one its task, unique key or '', 'done', 'again' or 'dead', and five more: for 'again' the message and
--       the delay in milliseconds, for 'dead' the message, reason, detail, deliveries and time of the first delivery;
--       then of each its entry, and its result or ''
-- Returns the places of deliveries that their worker no longer had: nothing was done for them.
local group, limit, keep = ARGV[1], ARGV[2], ARGV[3]
local epoch = redis.call('GET', KEYS[1])
local now = now_ms()
local lost, place, key, at = {}, 0, 7, 4

-- Entry and result are at `at`; entries that are to be deleted are added to `ended`.
local function settle(stream, is_known, ended, finish)
    local entry, result = ARGV[at], ARGV[at + 1]
    place = place + 1
    local owned = redis.call('XACK', stream, group, entry) == 1
    if owned then
        ended[#ended + 1] = entry
    end
    if owned or not is_known then
        if finish then
            finish()
        end
        if result ~= '' then
            store_result(KEYS[key], result, keep)
        end
    else
        lost[#lost + 1] = place
    end
    if result ~= '' then
        key = key + 1
    end
    at = at + 2
end

while at < #ARGV do
    local count, is_known, stream, ended = tonumber(ARGV[at]), ARGV[at + 1] == epoch, KEYS[key], {}
    at, key = at + 2, key + 1
    if count == 0 then
        local target, task, unique, outcome, details = KEYS[key], ARGV[at], ARGV[at + 1], ARGV[at + 2], at + 3
        at, key = at + 8, key + 1
        settle(stream, is_known, ended, function()
            if outcome == 'again' then
                enqueue(KEYS[3], KEYS[4], target, now, tonumber(ARGV[details + 1]), unique, task, ARGV[details])
            else
                release(KEYS[2], unique, task)
            end
            if outcome == 'dead' then
                bury(KEYS[5], KEYS[6], limit, {
                    'data', ARGV[details], 'queue', target, 'reason', ARGV[details + 1], 'detail', ARGV[details + 2],
                    'deliveries', ARGV[details + 3], 'first', ARGV[details + 4], 'last', now})
            end
        end)
    end
    for _ = 1, count do
        settle(stream, is_known, ended, nil)
    end
    if #ended > 0 then
        redis.call('XDEL', stream, unpack(ended))
    end
end
return lost
