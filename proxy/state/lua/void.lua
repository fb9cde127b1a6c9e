#!lua flags=allow-oom
--#include claims

-- A claim that nobody wants any more, or of which nobody knows whether it was made: free all that it holds, as if it had
-- never been. One that comes later, from a connection that is slow to die, finds that it was given up.
-- KEYS: TAG. ARGV: call, now ('' but in tests)
local tag, call = KEYS[1], ARGV[1]
local record = redis.call('GET', tag .. ':claim:' .. call)
if record and record ~= '' then
  -- When its lease has run out its process may have died with it under way: what it took of the minute it may have used.
  local is_unused = redis.call('ZSCORE', tag .. ':leases', call)
  free(tag, call, record, is_unused and 0 or nil, is_unused, clock(ARGV[2]))
  return 1
end
redis.call('SET', tag .. ':claim:' .. call, '', 'EX', 300)
return 0
