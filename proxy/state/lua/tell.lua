-- News for every gateway. A drain is kept, too, for those that are not there to hear of it.
--
--   KEYS[1]  FLEET
--   ARGV     kind, origin, data; of a drain and its end also the target, and for how many ms

--#include news
local fleet, kind = KEYS[1], ARGV[1]
if kind == 'drain' then
  local time = redis.call('TIME')
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('HSET', fleet .. ':drains', ARGV[4], string.format('%.0f', now_ms + ARGV[5]))
elseif kind == 'undrain' then
  redis.call('HDEL', fleet .. ':drains', ARGV[4])
end
return announce(fleet, kind, ARGV[2], ARGV[3])
