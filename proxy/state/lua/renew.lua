#!lua flags=allow-oom
--#include claims

-- These calls are still under way, also those that were thought to be gone. KEYS: TAG. ARGV: now ('' but in tests), lease
-- in ms, calls
local tag, now = KEYS[1], clock(ARGV[1])
local until_ms = now + tonumber(ARGV[2])
local renewed = 0
for at = 3, #ARGV do
  local call = ARGV[at]
  if redis.call('ZADD', tag .. ':leases', 'XX', 'CH', until_ms, call) == 1 then
    renewed = renewed + 1
  elseif redis.call('ZREM', tag .. ':lapsed', call) == 1 then
    local record = redis.call('GET', tag .. ':claim:' .. call)
    if record and record ~= '' then
      redis.call('ZADD', tag .. ':leases', until_ms, call)
      move(tag, cmsgpack.unpack(record)[3], 1, now)
      renewed = renewed + 1
    end
  end
end
return renewed
