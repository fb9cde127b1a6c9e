-- These indexes have something new.
--
--   KEYS  FLEET
--   ARGV  for how many ms an index is remembered, then their names

local names, time = KEYS[1] .. ':cache:indexes', redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 2, #ARGV do
  redis.call('ZADD', names, now, ARGV[at])
end
redis.call('ZREMRANGEBYSCORE', names, '-inf', now - ARGV[1])
redis.call('PEXPIRE', names, ARGV[1])
return now
