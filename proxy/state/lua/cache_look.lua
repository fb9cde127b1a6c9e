-- The answer of a key, or else who is to ask for it: the first of those who could share one.
--
--   KEYS  TAG
--   ARGV  key and flight in hex, a token of whoever asks, for how many ms it is the one
--
-- Gives {found, DATA}, {lead}, {flying, TOKEN of who does it}, {vain} (it was done, and there is nothing to be shared)
-- or {alone} (nothing can be written here just now).

local tag = KEYS[1]
local data = redis.call('GET', tag .. ':cache:' .. ARGV[1])
if data then
  return {'found', data}
end
local flight = tag .. ':flight:' .. ARGV[2]
local set = redis.pcall('SET', flight, ARGV[3], 'NX', 'PX', ARGV[4])
if not set then
  local holder = redis.call('GET', flight)
  if holder == '-' then
    return {'vain'}
  end
  return {'flying', holder or ''}
end
if set.err then
  return {'alone'}
end
return {'lead'}
