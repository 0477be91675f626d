-- A scheduler says that it lives, and sees what is due, or will be soon.
-- KEYS  1 schedules, 2 due times, 3 schedulers, 4 table in effect, 5 latest time at which anybody looked
-- ARGV  1 scheduler, 2 how many, 3 milliseconds after which a scheduler that does not look counts as gone,
--       4 milliseconds that are soon, 5 milliseconds by which the clock may be set back, 6 now or ''
-- Returns now, the next time at which something is due or -1, the table or '', the schedulers, what is due or will be (name,
-- time, definition or ''), and 1 where the clock was set back by more than it may be.
local now = time_or_now(ARGV[6])
local looked = tonumber(redis.call('GET', KEYS[5]) or now)
if now >= looked then
    redis.call('SET', KEYS[5], now)
end
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[3])
-- Looked before the clock was set back; who lives looks again soon.
redis.call('ZREMRANGEBYSCORE', KEYS[3], '(' .. now + ARGV[3], '+inf')
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now + ARGV[4], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local answer = {}
for place = 1, #due, 2 do
    table.insert(answer, due[place])
    table.insert(answer, due[place + 1])
    table.insert(answer, redis.call('HGET', KEYS[1], due[place]) or '')
end
local following = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local table_in_effect, schedulers = redis.call('GET', KEYS[4]) or '', redis.call('ZRANGE', KEYS[3], 0, -1)
return {now, following[2] or '-1', table_in_effect, schedulers, answer, looked - now > tonumber(ARGV[5]) and 1 or 0}
