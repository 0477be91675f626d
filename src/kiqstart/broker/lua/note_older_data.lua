-- KEYS  1 workers
-- ARGV  1 the last beat that Redis had answered to the worker that has noticed that Redis has come back with older data
-- Returns when it was noted.
return note_older_data(KEYS[1], ARGV[1])
