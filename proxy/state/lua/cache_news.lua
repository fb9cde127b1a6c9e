-- What has happened in the fleet's cache.
--
--   KEYS  FLEET
--   ARGV  1 since when an index must have changed (ms), 2 the last notice of a purge that is known | '', 3 the last
--         that is known of what was learned | '', 4 how many of each at most
--
-- Gives {now (ms), names of indexes, notices, what was learned}; whoever knows of no notice is given none, and begins
-- with now.

local fleet, time = KEYS[1], redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function after(name, id)
  if id == '' then
    return {}
  end
  local entries = redis.call('XRANGE', fleet .. ':cache:' .. name, id, '+', 'COUNT', ARGV[4] + 1)
  if #entries > 0 and entries[1][1] == id then
    table.remove(entries, 1)
  end
  return entries
end

local changed = redis.call('ZRANGEBYSCORE', fleet .. ':cache:indexes', ARGV[1], '+inf')
return {now, changed, after('purges', ARGV[2]), after('learned', ARGV[3])}
