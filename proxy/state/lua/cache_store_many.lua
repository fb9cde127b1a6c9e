--#include cache_purged
-- Keep many values.
--
--   KEYS  TAG
--   ARGV  for how many ms, how many ms ago whoever brings them set out, then key in hex and data of each
--
-- Gives how many are kept.

if was_purged(KEYS[1], ARGV[2]) then
  return 0
end
for at = 3, #ARGV, 2 do
  if redis.pcall('SET', KEYS[1] .. ':cache:' .. ARGV[at], ARGV[at + 1], 'PX', ARGV[1]).err then
    return (at - 3) / 2
  end
end
return (#ARGV - 2) / 2
