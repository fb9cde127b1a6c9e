#!lua flags=allow-oom
--#include claims

-- Calls whose lease ran out at least so long ago and that hold something still: call, since when in ms, intent of each.
-- KEYS: TAG. ARGV: now ('' but in tests), milliseconds, how many at most
local tag, now = KEYS[1], clock(ARGV[1])
while sweep(tag, now) == SWEPT_AT_ONCE do
end
local found = {}
local calls = redis.call('ZRANGEBYSCORE', tag .. ':lapsed', '-inf', now - tonumber(ARGV[2]), 'WITHSCORES', 'LIMIT', 0,
  tonumber(ARGV[3]))
for at = 1, #calls, 2 do
  local record = redis.call('GET', tag .. ':claim:' .. calls[at])
  if record and record ~= '' then
    found[#found + 1] = calls[at]
    found[#found + 1] = tonumber(calls[at + 1])
    found[#found + 1] = cmsgpack.unpack(record)[6]
  else
    redis.call('ZREM', tag .. ':lapsed', calls[at])
  end
end
return found
