-- The sums of one day as of one moment: how often something was entered until then, groups, their rows by day, hours,
-- their rows. KEYS[1] = TAG; ARGV = SUFFIX. See redis_books.py.

local tag, suffix = KEYS[1], ARGV[1]
return {
  tonumber(redis.call('HGET', tag .. ':books', 'stamp') or 0),
  redis.call('HGETALL', tag .. ':groups:' .. suffix),
  redis.call('GET', tag .. ':sums:day:' .. suffix),
  redis.call('HGETALL', tag .. ':hours:' .. suffix),
  redis.call('GET', tag .. ':sums:hour:' .. suffix),
}
