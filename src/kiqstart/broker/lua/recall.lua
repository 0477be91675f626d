-- Takes a message back that was left to other workers and that none may take any more: whoever reads it next ends it.
-- KEYS  1 stream of what was left, 2 returned, 3... shared
-- ARGV  1... entries
-- Returns how many there were.
local keys, count = shared_keys(3), 0
remove_misfit(keys, KEYS[1], '0-0')
for _, entry in ipairs(ARGV) do
    local fields = fields_of(KEYS[1], entry)
    local added = nil
    if fields then
        fields['left'] = 'over'
        added = add_again(keys, KEYS[2], '*', fields)
    end
    if not is_error(added) then
        remove_misfit(keys, KEYS[1], entry)
        count = count + (fields and 1 or 0)
    end
end
return count
