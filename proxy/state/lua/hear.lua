-- A journal is heard of, and has been folded so far. KEYS[1] = FLEET; ARGV = its name, its position or '', how long the
-- position is kept, in seconds. Gives the position that was there before, '' without one.

local time = redis.call('TIME')
redis.call('ZADD', KEYS[1] .. ':journals', string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000)), ARGV[1])
local before = redis.call('GET', KEYS[1] .. ':journal:' .. ARGV[1])
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[1] .. ':journal:' .. ARGV[1], ARGV[2], 'EX', ARGV[3])
end
return before or ''
