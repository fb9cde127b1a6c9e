-- Notes calls of one team that have been under way for some time, unless they are in the books.
-- KEYS[1] = TAG; ARGV = journal, then of each call HOUR, call id, began ms, intent.

local tag, journal = KEYS[1], ARGV[1]
for at = 2, #ARGV, 4 do
  local hour, id, began_ms, intent = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if redis.call('HEXISTS', tag .. ':calls:' .. hour, id) == 0
    and redis.call('HSETNX', tag .. ':opened', id, journal .. '\n' .. intent) == 1 then
    redis.call('ZADD', tag .. ':open:' .. journal, began_ms, id)
  end
end
