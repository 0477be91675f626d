-- Ends a batch of deliveries, each only where its worker still has it, or where Redis has lost what it knew.
-- KEYS  1 epoch, 2... shared, then for each run the stream, for a single delivery that of its next try or its queue, and the
--       key of its result; for the others the key of each result that is none of ''
-- ARGV  1 group, 2 how many dead letters to keep, 3 milliseconds to keep a result or 0, 4 what a channel's name has beside
--       the result's key, 5 how many ended runs to keep or 0, then runs of deliveries:
--       how many that have simply ended, or 0 for a single one with all that it has; epoch of the deliveries, their worker's
--       name, 1 where an earlier try had no answer or ''; what to keep of how they have ended, as run_record.py has it, or '';
--       of a single one which send of its id it is or '', its task, unique key or '', 'done', 'again', 'left' or 'dead', and five more: for 'again' the
--       message, the delay in milliseconds, the result where the task was cancelled meanwhile and which send that is, for 'left' the message,
--       which shapes of the task it does not fit and, in a second line, what pause of such calls holds it, the same result, queue and name of the task, for 'dead' the message,
--       reason, detail, deliveries and time of the first delivery; then of each its entry, and its result or ''
-- Returns the places of deliveries that their worker no longer had, for which nothing was done; then places and errors of
-- those that Redis refuses: the worker still has them, but for one that has simply ended, which only has no result.
local group, limit, keep, suffix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local keys = shared_keys(2)
local epoch = unless_foreign('GET', KEYS[1])
local lost, refused, place, key, at = {}, {}, 0, 2 + SHARED, 6
local runs_kept = tonumber(ARGV[5])
local has_marks = (unless_foreign('ZCARD', keys.cancelled) or 0) > 0

local function refuse(error)
    refused[#refused + 1] = place
    refused[#refused + 1] = type(error) == 'table' and error['err'] or tostring(error)
end

local function unmark(stream, entry)
    return has_marks and redis.call('ZREM', keys.cancelled, mark_of(stream, entry)) == 1
end

local has_latest = (unless_foreign('HLEN', latest_key(keys)) or 0) > 0

local function store(was_marked, send, result_key, result)
    if not has_latest then
        return store_first(result_key, result, keep, suffix)
    end
    return store_outcome(keys, was_marked, send, result_key, result, keep, suffix)
end

-- Of a block of runs those that have ended here, and how many they are.
local function ended_of(block, has_ended, count)
    local kept = {string.match(block, '^[^\n]*\n')}
    local from = #kept[1] + 1
    for place_of_run = 1, count do
        local following = from + #string.match(block, '^[^\n]*\n', from)
        for size in string.gmatch(string.match(block, '^%S+ %S+ %S+ %S+ %S+ ([^\n]*)', from), '%d+') do
            following = following + size
        end
        if has_ended[place_of_run] then
            kept[#kept + 1] = string.sub(block, from, following - 1)
        end
        from = following
    end
    return table.concat(kept), #kept - 1
end

-- An entry that was here is still this worker's: what another one is given has a new id.
local function settle_plain(stream, is_known, worker, count, block)
    local entries, has_ended, have_all_ended = {}, {}, true
    for offset = 1, count do
        entries[offset] = ARGV[at + 2 * offset - 2]
    end
    -- Comes first: it raises where this user may not delete, before anything is acknowledged. A Redis that is full lets a
    -- script go on whose first command that writes frees memory.
    local are_all_here = redis.call('XDEL', stream, unpack(entries)) == count
    if are_all_here then
        redis.call('XACK', stream, group, unpack(entries))
    end
    for offset = 1, count do
        local result, result_key, problem = ARGV[at + 1], KEYS[key], nil
        place, at = place + 1, at + 2
        local is_owned = are_all_here or redis.call('XACK', stream, group, entries[offset]) == 1
        local was_marked = has_marks and is_owned and unmark(stream, entries[offset])
        if not is_owned and is_known then
            is_known = not has_kept_lease(keys, worker)
        end
        if not is_owned and is_known then
            lost[#lost + 1] = place
        end
        if result ~= '' then
            key = key + 1
            problem = (is_owned or not is_known) and store(was_marked, '', result_key, result)
        end
        if problem then
            refuse(problem)
        end
        if problem or not is_owned then
            have_all_ended = false
        else
            has_ended[offset] = true
        end
    end
    if block ~= '' and have_all_ended then
        keep_runs(keys, runs_kept, block, count)
    elseif block ~= '' then
        keep_runs(keys, runs_kept, ended_of(block, has_ended, count))
    end
end

-- In a Redis that has lost its data there is no entry whose acknowledgement could show that this was done before.
-- Entries of two queues may have the same id.
local function settled_key(stream, entry)
    return KEYS[1] .. ':settled:' .. mark_of(stream, entry)
end

local function is_first_time(stream, entry)
    return redis.call('SET', settled_key(stream, entry), 1, 'NX', 'PX', 3600000) ~= false
end

-- It is found by its id in an index of all queues; that is a stream, so ids are in order, here and there.
local function leave(target, details, stream, entry)
    local fields = fields_of(stream, entry) or {}
    local tried, held = string.match(ARGV[details + 4], '^([^\n]*)\n?(.*)$')
    local name, queue = ARGV[details + 7], ARGV[details + 6]
    if ARGV[details + 1] ~= '' then
        fields['unique'], fields['task'] = ARGV[details + 1], ARGV[details]
    end
    fields['data'], fields['left'], fields['tried'] = ARGV[details + 3], 1, tried
    fields['first'] = fields['first'] or string.match(entry, '^%d+')
    local index = beside(keys, ':misfits:index')
    local facts = {'queue', queue, 'name', name, 'tried', tried, 'since', now_ms()}
    if held ~= '' then
        facts[#facts + 1], facts[#facts + 2] = 'held', held
    end
    local id = redis.pcall('XADD', index, '*', unpack(facts))
    if is_error(id) then
        return id
    end
    local added = add_again(keys, target, id, fields)
    if is_error(added) then
        redis.call('XDEL', index, id)
        return added
    end
    return nil
end

-- Gives an error or nil, and whether the task was cancelled in the place of what was to become of it.
local function finish(target, result_key, send, details, stream, entry, result, is_owned)
    local task, unique, outcome, is_cancelled = ARGV[details], ARGV[details + 1], ARGV[details + 2], false
    if (outcome == 'again' or outcome == 'left') and has_marks and is_marked(keys, task, stream, entry) then
        outcome, result, is_cancelled = 'done', ARGV[details + 5], true
    end
    check_forgetting(keys)
    local problem = nil
    if outcome == 'again' then
        local next_send = ARGV[details + 6]
        local is_new = send ~= '' and next_send ~= send and unless_foreign('HGET', latest_key(keys), result_key) == send
        if is_new then
            -- The task has sent itself anew. It is noted first: what Redis refuses after the message is there would leave two.
            redis.call('HSET', latest_key(keys), result_key, next_send)
        end
        problem = enqueue(keys, target, now_ms(), tonumber(ARGV[details + 4]), unique, task, ARGV[details + 3])
        problem = is_error(problem) and problem or nil
        if problem and is_new then
            redis.call('HSET', latest_key(keys), result_key, send)
        end
    elseif outcome == 'left' then
        problem = leave(target, details, stream, entry)
    elseif outcome == 'dead' then
        problem = bury(keys, limit, {
            'data', ARGV[details + 3], 'queue', target, 'reason', ARGV[details + 4], 'detail', ARGV[details + 5],
            'deliveries', ARGV[details + 6], 'first', ARGV[details + 7], 'last', now_ms()})
    end
    if not problem and result ~= '' then
        problem = store(has_marks and redis.call('ZSCORE', keys.cancelled, mark_of(stream, entry)), send, result_key, result)
    end
    -- In a Redis that has lost its data, the key is that of a later send, also where that has the same id.
    if not problem and is_owned and outcome ~= 'again' and outcome ~= 'left' then
        release(keys, unique, task)
        if has_latest then
            end_latest(keys, send, result_key)
        end
    end
    return problem, is_cancelled
end

-- Where Redis' clock was set back before it came back with older data, what is sent then may have an id that was lost.
local function is_entry_of(stream, entry, task)
    local fields = fields_of(stream, entry)
    local is_json, message = pcall(cjson.decode, fields and fields['data'] or '')
    local other = is_json and type(message) == 'table' and message['task_id'] or task
    return fields ~= nil and (task == '' or other == task)
end

local function settle_single(stream, is_known, worker, is_repeated, block)
    local target, result_key, send, details = KEYS[key], KEYS[key + 1], ARGV[at], at + 1
    local entry, result = ARGV[at + 9], ARGV[at + 10]
    place, key, at = place + 1, key + 2, at + 11
    local is_owned = owner_of(stream, group, entry) ~= nil
    if not is_owned and is_known and has_kept_lease(keys, worker) then
        -- Older data have it as waiting, or not at all. Of a repeated step only the result may be there twice.
        is_owned = is_entry_of(stream, entry, ARGV[details])
        is_known = not is_owned and is_repeated and ARGV[details + 2] ~= 'done'
    end
    if not is_owned and is_known then
        if is_repeated and result ~= '' and ARGV[details + 2] == 'dead' and has_kept_lease(keys, worker) then
            -- Its caller hears of it, whatever has become of the letter.
            store(false, send, result_key, result)
        end
        lost[#lost + 1] = place
        return
    end
    -- The copy of a repeated step that comes last finds nothing to do.
    if (is_repeated or not is_owned) and not is_first_time(stream, entry) then
        return
    end
    local is_well, problem, is_cancelled = pcall(finish, target, result_key, send, details, stream, entry, result, is_owned)
    if not is_well or problem then
        if is_repeated or not is_owned then
            redis.call('DEL', settled_key(stream, entry))
        end
        refuse(problem)
        return
    end
    if is_owned then
        forget_entry(stream, group, entry)
        unmark(stream, entry)
        unless_foreign('HDEL', early_key(keys), mark_of(stream, entry))
        if block ~= '' then
            keep_runs(keys, runs_kept, is_cancelled and '1c' .. string.sub(block, 3) or block, 1)
        end
    end
end

while at < #ARGV do
    local count, is_known, stream = tonumber(ARGV[at]), epoch == nil or ARGV[at + 1] == epoch, KEYS[key]
    local worker, is_repeated, block = ARGV[at + 2], ARGV[at + 3] ~= '', ARGV[at + 4]
    at, key = at + 5, key + 1
    if count == 0 then
        check_removal(stream, group)
        settle_single(stream, is_known, worker, is_repeated, block)
    else
        settle_plain(stream, is_known, worker, count, block)
    end
end
return {lost, refused}
