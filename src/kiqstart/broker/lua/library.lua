-- What several scripts do. Before each script stands what it uses of it (script.py). The protocol is described in this
-- package's __init__.py.

-- Every script takes its time as its last argument; '' asks Redis.
local TIME = table.remove(ARGV)

local function now_ms()
    if TIME ~= '' then
        return tonumber(TIME)
    end
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Redis' time, unless the caller brings one of its own.
local function time_or_now(time)
    return time ~= '' and tonumber(time) or now_ms()
end

-- The keys that every script takes which moves messages, in the order of `QueueKeys.shared`.
local SHARED = 7

local function shared_keys(first)
    return {uniques = KEYS[first], places = KEYS[first + 1], delayed = KEYS[first + 2], messages = KEYS[first + 3],
        cancelled = KEYS[first + 4], dead = KEYS[first + 5], dropped = KEYS[first + 6]}
end

local function is_error(answer)
    return type(answer) == 'table' and answer['err'] ~= nil
end

-- What a command gives; nil where a stranger has put something of another type under its key: only what needs that key has
-- to do without. Any other error is raised.
local function unless_foreign(...)
    local answer = redis.pcall(...)
    if not is_error(answer) then
        return answer
    end
    if string.find(answer['err'], 'WRONGTYPE', 1, true) then
        return nil
    end
    return redis.call(...)
end

-- What a command has answered; where its key holds something else, with the key's name, which Redis does not say.
local function named(answer, key)
    if is_error(answer) and string.find(answer['err'], 'WRONGTYPE', 1, true) then
        return {err = answer['err'] .. ' (key ' .. key .. ')'}
    end
    return answer
end

-- Redis has come back with older data: remembers who is registered there. Whoever is and does not take itself out again may have
-- ended long ago, and has not died of what it has there as far as anybody knows (fence.lua). The last beat is the one that Redis
-- had answered to the worker that has noticed it, before it came back: that one's time. Gives when it was noted.
local function note_older_data(workers, last_beat)
    local noted, now = workers .. ':restored', now_ms()
    -- Others may have noticed it before. But what was noted before that beat was saved with these data, since Redis had come back
    -- once before: it says nothing of who has ended since. So does what has a time yet to come: the clock was set back.
    local noted_at = tonumber(unless_foreign('HGET', noted, '') or '') or 0
    if noted_at > tonumber(last_beat) and noted_at <= now then
        return noted_at
    end
    local registered = redis.call('ZRANGE', workers, 0, -1, 'WITHSCORES')
    -- Comes first: a Redis that is full lets a script go on whose first command that writes frees memory.
    redis.call('DEL', noted)
    -- No worker has this name.
    redis.call('HSET', noted, '', now)
    for place = 1, #registered, 2 do
        redis.call('HSET', noted, registered[place], registered[place + 1])
    end
    redis.call('PEXPIRE', noted, 3600000)
    return now
end

-- Renews a worker's lease; gives its last beat before, or nil for one that is not registered. That beat should be one of those
-- that are possible, separated by spaces, the last one with an answer first. Where it is not, Redis has come back with older data.
-- That is noted here, and the worker sees it still with a later beat, should the answer to this one be lost.
local function renew_lease(workers, worker, beat, possible)
    local before = redis.call('ZSCORE', workers, worker)
    if not before then
        return nil
    end
    local is_possible = false
    for one in string.gmatch(possible, '%d+') do
        is_possible = is_possible or tonumber(one) == tonumber(before)
    end
    if not is_possible then
        pcall(note_older_data, workers, string.match(possible, '%d+'))
    end
    local renewed = is_possible and beat or string.format('%.0f', before + 1)
    -- A Redis that is full lets a script go on whose first command that writes frees memory.
    if is_error(redis.pcall('ZADD', workers, renewed, worker)) then
        redis.call('ZREM', workers, '')
        redis.call('ZADD', workers, renewed, worker)
    end
    return before
end

-- Where the holder of a unique key waits or runs: the janitor frees the keys of messages that are gone.
local function note_place(keys, unique, stream, id)
    if unique ~= '' then
        redis.pcall('HSET', keys.places, unique, stream .. '\n' .. id)
    end
end

-- Another key of the same broker.
local function beside(keys, name)
    return string.sub(keys.uniques, 1, -#':unique' - 1) .. name
end

-- A queue that no worker takes is known by what was sent to it. A user who may not say so may send all the same.
local function note_queue(keys, stream)
    local prefix = beside(keys, ':queue:')
    local queue = string.sub(stream, 1, #prefix) == prefix and string.sub(stream, #prefix + 1) or 'default'
    if redis.pcall('SISMEMBER', beside(keys, ':queues'), queue) == 0 then
        redis.pcall('SADD', beside(keys, ':queues:untaken'), queue)
    end
end

-- Gives the entry's id, or an error. A queue that was forgotten has no stream any more.
local function add_entry(keys, stream, ...)
    local added = redis.pcall('XADD', stream, 'NOMKSTREAM', '*', ...)
    if not added then
        note_queue(keys, stream)
        added = redis.pcall('XADD', stream, '*', ...)
    end
    return named(added, stream)
end

-- Entries carry more than `data` only where there is more to know. Gives the entry's id, or an error.
local function add_to_stream(keys, stream, message, unique, task)
    if unique == '' then
        return add_entry(keys, stream, 'data', message)
    end
    local added = add_entry(keys, stream, 'data', message, 'unique', unique, 'task', task)
    if not is_error(added) then
        note_place(keys, unique, stream, added)
    end
    return added
end

-- What streams, and the delayed messages, may still take: counted once in a script, however much it sends.
local ROOMS = {}

-- Takes room for a message; false where there is none. A limit of 0 is none.
local function take_room(keys, stream, delay, limit)
    if limit == 0 then
        return true
    end
    local key = delay > 0 and keys.delayed or stream
    if not ROOMS[key] then
        ROOMS[key] = limit - (delay > 0 and unless_foreign('ZCARD', key) or delay <= 0 and unless_foreign('XLEN', key) or 0)
    end
    ROOMS[key] = ROOMS[key] - 1
    return ROOMS[key] >= 0
end

-- A sender numbers its batches. What one was answered that was here before; nil for a new one, which is known from now on.
local function answer_to_batch(sender, number, remembered_ms)
    local remembered = unless_foreign('GET', sender)
    if remembered then
        local last, answer = string.match(remembered, '^(%d+)\n?(.*)$')
        if last and #last < 16 and tonumber(last) >= tonumber(number) then
            return answer ~= '' and tonumber(last) == tonumber(number) and cmsgpack.unpack(answer) or {}
        end
    end
    redis.call('SET', sender, number, 'PX', remembered_ms)
    return nil
end

-- Remembers what is answered to a sender's batch, if it is not simply that all was sent.
local function answer_batch(sender, number, remembered_ms, answer)
    if #answer > 0 then
        redis.call('SET', sender, number .. '\n' .. cmsgpack.pack(answer), 'PX', remembered_ms)
    end
    return answer
end

-- Of a message, the place-th of its batch, that is not simply sent.
local function report(answer, place, kind, text)
    answer[#answer + 1] = place
    answer[#answer + 1] = kind
    answer[#answer + 1] = text
end

-- Adds messages of a batch, the first of them at ARGV[at], which have nothing but themselves.
local function add_plain(keys, stream, at, count, limit, answer, place)
    for message = at, at + count - 1 do
        place = place + 1
        if limit > 0 and not take_room(keys, stream, 0, limit) then
            report(answer, place, 'full', 'queue')
        else
            -- As add_entry does it, which most have no need of.
            local sent = redis.pcall('XADD', stream, 'NOMKSTREAM', '*', 'data', ARGV[message])
            if type(sent) ~= 'string' then
                sent = sent and named(sent, stream) or add_entry(keys, stream, 'data', ARGV[message])
                if is_error(sent) then
                    report(answer, place, 'error', sent['err'])
                end
            end
        end
    end
end

-- The layout of delayed messages that this version writes. One that is higher is left to those that know it.
local DELAYED_LAYOUT = 1

-- Several delayed messages of one task are called task, task#2, task#3 and so on, without a gap.
local function nth_delayed(task, count)
    return count == 1 and task or task .. '#' .. count
end

-- Puts a message into its stream now, or lets it wait until it is due. Gives what Redis answers, or an error.
local function enqueue(keys, stream, now, delay, unique, task, message)
    if delay <= 0 then
        return add_to_stream(keys, stream, message, unique, task)
    end
    local count, packed = 1, cmsgpack.pack({stream, unique, task, message, DELAYED_LAYOUT})
    local is_free = redis.pcall('HSETNX', keys.messages, task, packed)
    while is_free == 0 do
        count = count + 1
        is_free = redis.pcall('HSETNX', keys.messages, nth_delayed(task, count), packed)
    end
    if is_error(is_free) then
        return named(is_free, keys.messages)
    end
    local added = named(redis.pcall('ZADD', keys.delayed, now + delay, nth_delayed(task, count)), keys.delayed)
    if is_error(added) then
        redis.call('HDEL', keys.messages, nth_delayed(task, count))
        return added
    end
    note_place(keys, unique, '', nth_delayed(task, count))
    return {ok = 'OK'}
end

-- Stream, unique key, task and message of a delayed message; nil where it has another layout.
local function unpack_delayed(stored)
    local is_read, fields = pcall(cmsgpack.unpack, stored)
    if not is_read or type(fields) ~= 'table' then
        return nil
    end
    for place = 1, 4 do
        if type(fields[place]) ~= 'string' then
            return nil
        end
    end
    if (tonumber(fields[5]) or DELAYED_LAYOUT) > DELAYED_LAYOUT then
        return nil
    end
    return fields[1], fields[2], fields[3], fields[4]
end

-- Takes a delayed message out. The last one of its task takes its name, so that names stay without a gap.
local function remove_delayed(keys, id, task)
    redis.call('HDEL', keys.messages, id)
    redis.call('ZREM', keys.delayed, id)
    local number = task and (id == task and 1 or tonumber(string.sub(id, #task + 2)))
    if not number or id ~= nth_delayed(task, number) then
        return
    end
    local last = number
    while redis.call('HEXISTS', keys.messages, nth_delayed(task, last + 1)) == 1 do
        last = last + 1
    end
    local name = nth_delayed(task, last)
    local due = last > number and redis.call('ZSCORE', keys.delayed, name)
    if due then
        redis.call('HSET', keys.messages, id, redis.call('HGET', keys.messages, name))
        redis.call('ZADD', keys.delayed, due, id)
        redis.call('HDEL', keys.messages, name)
        redis.call('ZREM', keys.delayed, name)
    end
end

local function release(keys, unique, task)
    if unique ~= '' and unless_foreign('HGET', keys.uniques, unique) == task then
        redis.call('HDEL', keys.uniques, unique)
        unless_foreign('HDEL', keys.places, unique)
    end
end

-- Takes a unique key for a task; gives the task that holds it where that is another delivery.
local function acquire(keys, unique, task)
    local is_free = named(redis.pcall('HSETNX', keys.uniques, unique, task), keys.uniques)
    if is_error(is_free) then
        error(is_free)
    end
    if is_free == 1 then
        return nil
    end
    return redis.call('HGET', keys.uniques, unique)
end

-- A mark names a task, or an entry that runs.
local function mark_of(stream, entry)
    return entry .. '@' .. stream
end

-- Of ids that others may have had: which send of it the result belongs to, by the result's key, until that task has ended.
local function latest_key(keys)
    return beside(keys, ':latest')
end

-- A task was sent whose id another one may have had: what is kept under its id is the old one's, and so is what the old one
-- leaves yet. It raises no error. What workers of older versions or strangers have left in the hash goes a day later.
local function begin_anew(keys, result, send, delay)
    redis.pcall('DEL', result, result .. '__progress')
    redis.pcall('HSET', latest_key(keys), result, send)
    redis.pcall('PEXPIRE', latest_key(keys), 86400000 + math.max(delay, 0))
end

-- Whoever takes what a worker has ends its lease first. If it is registered still, or Redis does not know that it ever was,
-- nobody did: what is not pending was sent to or read from a Redis that has come back with older data, or this worker has
-- settled it before.
local function has_kept_lease(keys, worker)
    if unless_foreign('ZSCORE', beside(keys, ':workers'), worker) then
        return true
    end
    return not redis.pcall('ZSCORE', beside(keys, ':workers:registered'), worker)
end

-- Which deliveries were acknowledged before they ran, and what each is to leave if its worker does not end it.
local function early_key(keys)
    return beside(keys, ':early')
end

local function is_marked(keys, task, stream, entry)
    return unless_foreign('ZSCORE', keys.cancelled, task) or unless_foreign('ZSCORE', keys.cancelled, mark_of(stream, entry))
end

-- Gives an error where the dead letter could not be kept.
local function bury(keys, limit, letter)
    local added = redis.pcall('XADD', keys.dead, '*', unpack(letter))
    if is_error(added) then
        return added
    end
    local removed = redis.call('XTRIM', keys.dead, 'MAXLEN', limit)
    if removed > 0 then
        redis.pcall('INCRBY', keys.dropped, removed)
    end
    return nil
end

-- Fields of an entry by name, and as they are; nil where it was deleted.
local function fields_of(stream, id)
    local found = redis.call('XRANGE', stream, id, id)[1]
    if not found then
        return nil
    end
    local fields = {}
    for place = 1, #found[2], 2 do
        fields[found[2][place]] = found[2][place + 1]
    end
    return fields, found[2]
end

-- Whoever writes to the stream may have put anything there.
local function number_of(text)
    local number = type(text) == 'string' and tonumber(text)
    return number and number == number and number >= 0 and number < 1e15 and math.floor(number) or 0
end

-- The consumer that has an entry; nil where none has it.
local function owner_of(stream, group, id)
    local pending = redis.pcall('XPENDING', stream, group, id, id, 1)
    if is_error(pending) or not pending[1] then
        return nil
    end
    return pending[1][2]
end

-- Raises where this user may not take entries out: before anything is added that would then be there twice. It removes
-- nothing, but a Redis that is full lets a script go on whose first command that writes frees memory.
local function check_removal(stream, group)
    redis.call('XACK', stream, group, '0-0')
    redis.call('XDEL', stream, '0-0')
end

-- Raises where this user may not release a key, or forget what is noted of a delivery: before anything is added or removed.
local function check_forgetting(keys)
    unless_foreign('HDEL', keys.uniques, '')
end

local function forget_entry(stream, group, id)
    redis.call('XACK', stream, group, id)
    redis.call('XDEL', stream, id)
end

-- Adds an entry that was elsewhere before. Gives its id, or an error.
local function add_again(keys, target, id, fields)
    -- Of what a stranger has put there, beside what we know or instead, only so much is carried as unpack can hand over.
    fields['data'] = fields['data'] or cjson.encode(fields)
    local flat = {}
    for _, name in ipairs({'data', 'deliveries', 'worker', 'first', 'unique', 'task', 'left', 'tried'}) do
        if fields[name] then
            flat[#flat + 1] = name
            flat[#flat + 1] = fields[name]
        end
    end
    local added = redis.pcall('XADD', target, id, unpack(flat))
    if not is_error(added) then
        note_place(keys, fields['unique'] or '', target, added)
    end
    return added
end

-- Takes a message out that was left to other workers.
local function remove_misfit(keys, stream, id)
    redis.call('XDEL', stream, id)
    unless_foreign('XDEL', beside(keys, ':misfits:index'), id)
end

-- Moves a pending entry to where another worker finds it. It is added there before it is removed here, so that an error
-- leaves it where it is. Gives an error, or nil.
local function move_entry(keys, stream, group, id, target, fields)
    check_removal(stream, group)
    local added = add_again(keys, target, '*', fields)
    if is_error(added) then
        return added
    end
    local mark = unless_foreign('ZSCORE', keys.cancelled, mark_of(stream, id))
    if mark then
        redis.call('ZREM', keys.cancelled, mark_of(stream, id))
        redis.call('ZADD', keys.cancelled, mark, mark_of(target, added))
    end
    forget_entry(stream, group, id)
    return nil
end

-- Whoever waits gets a result with its announcement, unless it is large. A user who may not publish only loses that:
-- who waits looks for results, too.
local function announce(key, result, channel_suffix)
    redis.pcall('PUBLISH', key .. channel_suffix, #result <= 4096 and result or '')
end

-- Gives an error where the result could not be stored.
local function store_result(key, result, keep, channel_suffix)
    local stored
    if keep == '0' then
        stored = redis.pcall('SET', key, result)
    else
        stored = redis.pcall('SET', key, result, 'PX', keep)
    end
    if is_error(stored) then
        return stored
    end
    announce(key, result, channel_suffix)
    return nil
end

-- Stores a result, unless there is one. What is empty, or of another type, is none.
local function store_first(key, result, keep, channel_suffix)
    local stored
    if keep == '0' then
        stored = redis.pcall('SET', key, result, 'NX')
    else
        stored = redis.pcall('SET', key, result, 'PX', keep, 'NX')
    end
    if is_error(stored) then
        return stored
    end
    if stored then
        announce(key, result, channel_suffix)
    elseif (unless_foreign('STRLEN', key) or 0) == 0 then
        return store_result(key, result, keep, channel_suffix)
    end
    return nil
end

-- Whether a result is that of the latest send of its id. Once that has ended, what is there is its.
local function is_latest(keys, was_marked, send, key)
    local latest = unless_foreign('HGET', latest_key(keys), key)
    if latest then
        return latest == send and not (was_marked and send == '')
    end
    return (unless_foreign('STRLEN', key) or 0) == 0
end

-- The task of a send has ended for good.
local function end_latest(keys, send, key)
    if unless_foreign('HGET', latest_key(keys), key) == send then
        redis.call('HDEL', latest_key(keys), key)
    end
end

-- Stores the result of a delivery that ends, unless its id was sent again since. Gives an error where it could not be stored.
local function store_outcome(keys, was_marked, send, key, result, keep, channel_suffix)
    if not is_latest(keys, was_marked, send, key) then
        return nil
    end
    local problem = store_result(key, result, keep, channel_suffix)
    if not problem then
        end_latest(keys, send, key)
    end
    return problem
end

-- Ends a pending entry that was acknowledged before it ran, and is not to be run again; gives whether it was.
local function end_early(keys, stream, group, entry)
    local mark = mark_of(stream, entry)
    local will = unless_foreign('HGET', early_key(keys), mark)
    if not will then
        return false
    end
    check_removal(stream, group)
    check_forgetting(keys)
    local is_read, fields = pcall(cmsgpack.unpack, will)
    if is_read and type(fields) == 'table' and #fields == 7 then
        local result_key, task, unique, result, send, keep, suffix = unpack(fields)
        release(keys, unique, task)
        store_outcome(keys, unless_foreign('ZREM', keys.cancelled, mark) == 1, send, result_key, result, keep, suffix)
    end
    forget_entry(stream, group, entry)
    redis.call('HDEL', early_key(keys), mark)
    return true
end

-- Keeps how runs have ended, a block of so many as run_record.py makes it. That they cannot be kept changes nothing about
-- their end, so it raises no error. An entry's id is how many runs there ever were, and the time: so a stream is bounded by
-- the number of its runs, not of its blocks. A count that was lost goes on where none can have come by now.
local function keep_runs(keys, limit, block, count)
    local outcome = string.sub(block, 2, 2)
    if count == 0 or outcome == 'l' then
        return
    end
    local name, stream, now = 'runs', beside(keys, ':runs'), now_ms()
    if outcome == 'f' or outcome == 'd' then
        name, stream = 'failed', stream .. ':failed'
    end
    local counts = beside(keys, ':runs:counts')
    for _ = 1, 2 do
        local total = redis.pcall('HINCRBY', counts, name, count)
        if is_error(total) and string.find(total['err'], 'not an integer', 1, true) then
            total = count
        elseif is_error(total) then
            return
        end
        if total > count then
            local added = redis.pcall('XADD', stream, 'MINID', '~', string.format('%.0f', math.max(total - limit, 0)),
                string.format('%.0f-%.0f', total, now), 'runs', block)
            if not (is_error(added) and string.find(added['err'], 'equal or smaller', 1, true)) then
                return
            end
        end
        redis.pcall('HSET', counts, name, string.format('%.0f', now * 100))
    end
end

-- Entries of a stream, from `start` on: `most` of them, or fewer where they have so many bytes, but never none. The command is
-- XRANGE, for the oldest first, or XREVRANGE.
local function page_of(command, key, start, most, bytes)
    local found, size = {}, 0
    while #found < tonumber(most) and size < tonumber(bytes) do
        local entry = redis.call(command, key, start, command == 'XRANGE' and '+' or '-', 'COUNT', 1)[1]
        if not entry then
            break
        end
        for _, part in ipairs(entry[2]) do
            size = size + #part
        end
        found[#found + 1] = entry
        start = '(' .. entry[1]
    end
    return found
end
