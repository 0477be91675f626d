-- Ends a cancellation that has found all there was: the id is free again, unless another cancellation has marked it since.
-- KEYS  1 cancelled tasks
-- ARGV  1 task, 2 until when the mark was to be kept
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '') == tonumber(ARGV[2]) then
    redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
