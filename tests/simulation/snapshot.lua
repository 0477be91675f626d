-- All messages that Redis has, and who holds which unique key, in one look.
-- KEYS  1 unique keys, 2 delayed ids, 3 delayed messages, 4 dead letters, 5 early acknowledgements, 6... streams
local found = {}
local function add(...)
    found[#found + 1] = table.concat({...}, '\t')
end
local function read(data)
    return string.match(data, '"args":%[(%d+)') or '', string.match(data, '"task_id":"([^"]*)"') or ''
end
local function fields_of(entry)
    local fields = {}
    for at = 1, #entry[2], 2 do
        fields[entry[2][at]] = entry[2][at + 1]
    end
    return fields
end
-- One command for all streams, most of which are empty.
local places = {}
for place = 6, #KEYS do
    places[place - 5], places[#KEYS - 10 + place] = KEYS[place], '0'
end
for _, stream in ipairs(redis.call('XREAD', 'STREAMS', unpack(places)) or {}) do
    for _, entry in ipairs(stream[2]) do
        local fields = fields_of(entry)
        local uid, task = read(fields['data'] or '')
        add('stream', uid, task, fields['unique'] or '', stream[1], entry[1], fields['deliveries'] or 0)
    end
end
local messages = redis.call('HGETALL', KEYS[3])
for at = 1, #messages, 2 do
    local is_read, fields = pcall(cmsgpack.unpack, messages[at + 1])
    local uid, task, unique = '', '', ''
    if is_read and type(fields) == 'table' then
        uid, task = read(fields[4] or '')
        unique = fields[2] or ''
    end
    add(redis.call('ZSCORE', KEYS[2], messages[at]) and 'delayed' or 'unreachable', uid, task, unique, messages[at], '')
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[4], '-', '+')) do
    local fields = fields_of(entry)
    local uid, task = read(fields['data'] or '')
    add('dead', uid, task, '', fields['reason'] or '', entry[1])
end
local uniques = redis.call('HGETALL', KEYS[1])
for at = 1, #uniques, 2 do
    add('key', '', uniques[at + 1], uniques[at], '', '')
end
for _, mark in ipairs(redis.call('HKEYS', KEYS[5])) do
    local entry, stream = string.match(mark, '^(.-)@(.*)$')
    add('early', '', '', '', stream, entry)
end
return found
