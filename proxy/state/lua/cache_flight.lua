-- What becomes of a flight, if whoever says so is still the one that flies it.
--
--   KEYS  TAG
--   ARGV  flight in hex, the token, keep | free | vain, and for how many ms
--
-- keep: it goes on. free: the next one may try. vain: it brought nothing that could be shared, so nobody need wait.

local flight = KEYS[1] .. ':flight:' .. ARGV[1]
if redis.call('GET', flight) ~= ARGV[2] then
  return 0
end
if ARGV[3] == 'keep' then
  redis.call('PEXPIRE', flight, ARGV[4])
elseif ARGV[3] == 'free' or redis.pcall('SET', flight, '-', 'PX', ARGV[4]).err then
  redis.call('DEL', flight)
end
return 1
