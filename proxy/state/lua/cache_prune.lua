-- One step of taking out of an index what has no answer any more.
--
--   KEYS  TAG
--   ARGV  the index' name, the id to begin with, how many entries to look at
--
-- Gives the id of the last one looked at, or '' if there are no more.

local function hex(key)
  return (string.gsub(key, '.', function(byte) return string.format('%02x', string.byte(byte)) end))
end

local entries = redis.call('XRANGE', ARGV[1], ARGV[2], '+', 'COUNT', ARGV[3])
local last, gone = '', {}
for _, entry in ipairs(entries) do
  last = entry[1]
  if redis.call('EXISTS', KEYS[1] .. ':cache:' .. hex(entry[2][2])) == 0 then
    gone[#gone + 1] = last
  end
end
if #gone > 0 then
  redis.call('XDEL', ARGV[1], unpack(gone))
end
return #entries < tonumber(ARGV[3]) and '' or last
