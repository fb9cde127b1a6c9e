#!lua flags=allow-oom
-- One change of keys or grants: entered, audited and told to all by the same stroke, if nothing else was changed since
-- whoever asks has looked. A full Redis takes it, too: it may be a revocation.
--
--   KEYS[1]  FLEET
--   ARGV     the version that was looked at, the audit's row, and what to enter: HASH, FIELD, VALUE, ...; an empty
--            value takes the field out
--
--   FLEET:registry:version  the id of the entry in FLEET:news by which the last change was told
--   FLEET:registry:audit    list of `ID ROW`, the newest first
--
-- Gives the new version; nothing if there was another change. With nothing to enter it is the audit's row alone, and
-- gives the version as it was.

--#include news
local fleet = KEYS[1]
local registry = fleet .. ':registry:'
local version = redis.call('GET', registry .. 'version') or ''

if #ARGV > 2 then
  if version ~= ARGV[1] then
    return false
  end
  for at = 3, #ARGV, 3 do
    if ARGV[at + 2] == '' then
      redis.call('HDEL', registry .. ARGV[at], ARGV[at + 1])
    else
      redis.call('HSET', registry .. ARGV[at], ARGV[at + 1], ARGV[at + 2])
    end
  end
  version = announce(fleet, 'keys', '', '')
  redis.call('SET', registry .. 'version', version)
end
local id = redis.call('HINCRBY', registry .. 'last', 'audit', 1)
redis.call('LPUSH', registry .. 'audit', id .. ' ' .. ARGV[2])
redis.call('LTRIM', registry .. 'audit', 0, 99999)
return version
