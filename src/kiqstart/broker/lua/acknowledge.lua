-- Acknowledges deliveries whose tasks are about to run: they stay with their worker until they have ended, and nobody runs
-- them again.
-- KEYS  1 epoch, 2... shared, then streams and keys of results
-- ARGV  1 group, 2 milliseconds to keep a result or 0, 3 what a channel's name has beside the result's key, then of each
--       delivery: the places of its stream and its result in KEYS, its epoch, entry, task and unique key or '', the result that
--       its caller gets where its worker does not end it, which send of its id it is or '', and its worker's name
-- Returns the places of deliveries that their worker no longer had.
local group, lost = ARGV[1], {}
local keys = shared_keys(2)
local epoch = unless_foreign('GET', KEYS[1])
for at = 4, #ARGV, 9 do
    local stream, entry = KEYS[tonumber(ARGV[at])], ARGV[at + 3]
    check_removal(stream, group)
    if owner_of(stream, group, entry) then
        local will = {KEYS[tonumber(ARGV[at + 1])], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6], ARGV[at + 7], ARGV[2], ARGV[3]}
        redis.call('HSET', early_key(keys), mark_of(stream, entry), cmsgpack.pack(will))
    elseif (epoch == nil or epoch == ARGV[at + 2])
        and (not has_kept_lease(keys, ARGV[at + 8]) or fields_of(stream, entry)) then
        -- Another worker has it, or gets it: older data have it as waiting.
        lost[#lost + 1] = (at - 4) / 9 + 1
    end
end
return lost
