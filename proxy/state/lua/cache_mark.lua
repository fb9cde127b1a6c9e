--#include cache_purged
-- Something of this team is purged now: what has set out is not stored any more. With a key: that one is forgotten.
--
--   KEYS  TAG
--   ARGV  how many ms this is remembered, key in hex or ''
--
-- Gives how many were forgotten.

redis.pcall('SET', KEYS[1] .. ':purged', string.format('%d', now_ms()), 'PX', ARGV[1])
if ARGV[2] == '' then
  return 0
end
return redis.call('UNLINK', KEYS[1] .. ':cache:' .. ARGV[2])
