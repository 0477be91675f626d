-- A living worker says that the process to which it had given suspects has died: its lease ends at once. What ran alone is
-- guilty and stays, for condemn.lua; of several, each is tried alone next. So is what ran alone if Redis has come back with older
-- data of which the witness does not know yet, or did not know that the dead one did: that one may have had something else.
-- KEYS  1 workers, 2... shared, then for each queue: isolated, suspects
-- ARGV  1 group, 2 worker that has died, 3 the witness, 4 its last beat; '' where it is not certain
-- Returns place of its stream in KEYS, id, deaths and fields of the guilty one; nothing where there is none.
local is_certain = ARGV[4] ~= '' and tonumber(redis.call('ZSCORE', KEYS[1], ARGV[3]) or '') == tonumber(ARGV[4])
redis.call('ZREM', KEYS[1], ARGV[2])
local keys = shared_keys(2)
local held = {}
for place = 2 + SHARED, #KEYS do
    local pending = redis.pcall('XPENDING', KEYS[place], ARGV[1], '-', '+', 1000, ARGV[2])
    for _, one in ipairs(is_error(pending) and {} or pending) do
        held[#held + 1] = {place, one[1]}
    end
end
for _, one in ipairs(held) do
    local place, entry = one[1], one[2]
    local is_ended = end_early(keys, KEYS[place], ARGV[1], entry)
    local fields, raw = fields_of(KEYS[place], entry)
    if is_ended then
        -- It runs nowhere any more.
    elseif not fields then
        redis.call('XACK', KEYS[place], ARGV[1], entry)
    elseif #held == 1 and is_certain then
        return {place, entry, number_of(fields['deliveries']) + 1, raw}
    else
        local isolated = KEYS[place - (place - 2 - SHARED) % 2]
        fields['worker'] = ARGV[2]
        move_entry(keys, KEYS[place], ARGV[1], entry, isolated, fields)
    end
end
return {}
