-- Adds or changes schedules that are in no table.
-- KEYS  1 schedules, 2 due times, 3 names of the table, 4 paused schedules, 5 schedules that are set aside, 6 answer to the
--       last script of whoever adds
-- ARGV  1 name of this script, 2 milliseconds to remember its answer, then for each schedule: name, definition, when it is
--       due, or '' for never, and 1 where it stays due when it is
-- Returns for each 1, 0 where the table has the name, or what Redis said when it refused it.

-- A script that arrives twice must not add again what was due at once, and is sent already.
local remembered = redis.pcall('GET', KEYS[6])
if type(remembered) == 'string' then
    local script, packed = string.match(remembered, '^([^\n]*)\n(.*)$')
    if script == ARGV[1] then
        return cmsgpack.unpack(packed)
    end
end

local function error_of(answer)
    return type(answer) == 'table' and answer['err'] or nil
end

-- All of it or nothing.
local function add(name, definition, due, stays)
    local before = redis.call('HGET', KEYS[1], name)
    local problem = error_of(redis.pcall('HSET', KEYS[1], name, definition))
    if problem then
        return problem
    end
    local moved
    local is_paused = before and redis.call('SISMEMBER', KEYS[4], name) == 1
    if is_paused or due == '' then
        moved = redis.pcall('ZREM', KEYS[2], name)
    elseif stays == '1' then
        moved = redis.pcall('ZADD', KEYS[2], 'NX', due, name)
    else
        moved = redis.pcall('ZADD', KEYS[2], due, name)
    end
    problem = error_of(moved)
    if problem then
        if before then
            redis.call('HSET', KEYS[1], name, before)
        else
            redis.call('HDEL', KEYS[1], name)
        end
        return problem
    end
    if not is_paused then
        redis.pcall('SREM', KEYS[4], name)
    end
    redis.pcall('HDEL', KEYS[5], name)
    return 1
end

local answer, has_error = {}, false
for place = 3, #ARGV, 4 do
    local name = ARGV[place]
    if redis.call('SISMEMBER', KEYS[3], name) == 1 then
        answer[#answer + 1] = 0
    else
        local is_well, added = pcall(add, name, ARGV[place + 1], ARGV[place + 2], ARGV[place + 3])
        answer[#answer + 1] = is_well and added or error_of(added) or tostring(added)
        has_error = has_error or answer[#answer] ~= 1
    end
end
-- What is refused may be tried again.
if not has_error then
    redis.pcall('SET', KEYS[6], ARGV[1] .. '\n' .. cmsgpack.pack(answer), 'PX', ARGV[2])
end
return answer
