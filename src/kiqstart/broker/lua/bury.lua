-- Keeps a message as a dead letter that is no worker's delivery any more.
-- KEYS  1... shared
-- ARGV  1 how many dead letters to keep, 2 key of its queue's stream, 3 reason, 4 detail, 5 message
local now = now_ms()
return bury(shared_keys(1), ARGV[1], {
    'data', ARGV[5], 'queue', ARGV[2], 'reason', ARGV[3], 'detail', ARGV[4], 'deliveries', 1, 'first', now, 'last', now}) or 1
