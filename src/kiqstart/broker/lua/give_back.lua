-- A worker gives back entries that it has not run to their end; this counts as no delivery.
-- KEYS  1 stream, 2 where its entries go, 3... shared
-- ARGV  1 group, 2 worker, 3... entries
-- Returns the first error, where Redis refuses to move an entry, which then stays; else how many entries there were.
local keys = shared_keys(3)
local problem = nil
for place = 3, #ARGV do
    local entry = ARGV[place]
    if owner_of(KEYS[1], ARGV[1], entry) == ARGV[2] and not end_early(keys, KEYS[1], ARGV[1], entry) then
        local fields = fields_of(KEYS[1], entry)
        if not fields then
            redis.call('XACK', KEYS[1], ARGV[1], entry)
        else
            fields['worker'], fields['deliveries'] = ARGV[2], number_of(fields['deliveries'])
            fields['first'] = fields['first'] or string.match(entry, '^%d+')
            problem = move_entry(keys, KEYS[1], ARGV[1], entry, KEYS[2], fields) or problem
        end
    end
end
return problem or #ARGV - 2
