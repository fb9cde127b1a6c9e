--#include cache_purged
-- Keep an answer, end the flight that brought it, and write down what it may be found by.
--
--   KEYS  TAG
--   ARGV  1 key in hex, 2 data, 3 for how many ms, 4 how many ms ago whoever brings it set out,
--         5 flight in hex or '', 6 its token, 7 for how many ms nobody need wait if it is not kept,
--         8 index in hex or '', 9 the key as it is, 10 what the index is told, 11 how many entries it keeps
--
-- Gives 1; 0 if something of the team was purged meanwhile; -1 if there is no room.

local tag = KEYS[1]

local function kept()
  if was_purged(tag, ARGV[4]) then
    return 0
  end
  local set = redis.pcall('SET', tag .. ':cache:' .. ARGV[1], ARGV[2], 'PX', ARGV[3])
  return set.err and -1 or 1
end

local result = kept()
local flight = tag .. ':flight:' .. ARGV[5]
if ARGV[5] ~= '' and redis.call('GET', flight) == ARGV[6] then
  if result == 1 or redis.pcall('SET', flight, '-', 'PX', ARGV[7]).err then
    redis.call('DEL', flight)
  end
end
if result == 1 and ARGV[8] ~= '' then
  local index = tag .. ':index:' .. ARGV[8]
  local added = redis.pcall('XADD', index, 'MAXLEN', '~', ARGV[11], '*', 'k', ARGV[9], 'd', ARGV[10])
  if type(added) == 'string' then
    redis.pcall('XTRIM', index, 'MINID', '~', string.format('%d', now_ms() - ARGV[3]))
    redis.call('PEXPIRE', index, ARGV[3])
  end
end
return result
