-- Gives back what a consumer that is no registered worker has of one stream, and forgets the consumer.
-- KEYS  1 workers, 2 draining workers, 3 stream, 4 returned, 5 suspects, 6 isolated, 7... shared
-- ARGV  1 group, 2 consumer, 3 milliseconds for which an entry must have been with it, 4 how many, 5 deaths of its workers
--       from which on a message is a suspect, 6 deaths that are the last, 7 deaths to count now: 1 where the consumer has died,
--       8 the last entry against which they count, '' for none, '+' for all
-- Returns 1 where there may be more, how many were given back, then id, deaths and fields of each entry that has had its
-- last death: it stays, for condemn.lua.
if redis.call('ZSCORE', KEYS[1], ARGV[2]) then
    return {0, 0}
end
local pending = redis.pcall('XPENDING', KEYS[3], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4], ARGV[2])
if is_error(pending) then
    return {0, 0}
end
local keys = shared_keys(7)
-- A worker that was asked to end and then killed has not died of its tasks.
local deaths_of_this = unless_foreign('SISMEMBER', KEYS[2], ARGV[2]) == 1 and 0 or tonumber(ARGV[7])
local answer = {#pending == tonumber(ARGV[4]) and 1 or 0, 0}

local function parts_of(entry)
    local time, number = string.match(entry, '^(%d+)-(%d+)$')
    return tonumber(time) or 0, tonumber(number) or 0
end

local last_time, last_number = parts_of(ARGV[8])

local function deaths_against(entry)
    local time, number = parts_of(entry)
    local is_counted = ARGV[8] == '+' or time < last_time or (time == last_time and number <= last_number)
    return is_counted and deaths_of_this or 0
end

local function give_back(entry)
    if end_early(keys, KEYS[3], ARGV[1], entry) then
        answer[2] = answer[2] + 1
        return
    end
    local fields, raw = fields_of(KEYS[3], entry)
    if not fields then
        redis.call('XACK', KEYS[3], ARGV[1], entry)
        return
    end
    local deaths = number_of(fields['deliveries']) + deaths_against(entry)
    if deaths >= tonumber(ARGV[6]) then
        for _, value in ipairs({entry, deaths, raw}) do
            answer[#answer + 1] = value
        end
        return
    end
    fields['deliveries'], fields['worker'] = deaths, ARGV[2]
    fields['first'] = fields['first'] or string.match(entry, '^%d+')
    local target = deaths >= tonumber(ARGV[5]) and KEYS[5] or KEYS[4]
    if KEYS[3] == KEYS[6] then
        target = KEYS[6]
    end
    if not move_entry(keys, KEYS[3], ARGV[1], entry, target, fields) then
        answer[2] = answer[2] + 1
    end
end

for _, one in ipairs(pending) do
    give_back(one[1])
end
if #redis.call('XPENDING', KEYS[3], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[3], ARGV[1], ARGV[2])
end
return answer
