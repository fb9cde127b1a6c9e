#!lua flags=allow-oom
-- A sign of life of one gateway, for which it is told all that it may have missed. It takes the place of the one before,
-- so a full Redis takes it, too.
--
--   KEYS[1]  FLEET
--   ARGV     the gateway's id, what it says of itself, for how many ms it counts as alive
--
--   FLEET:replicas  ID -> `when it was heard last, in Unix ms` and what it says of itself
--   FLEET:drains    TARGET -> until when, in Unix ms
--
-- Gives the version of keys and grants, the id of the last news, {TARGET, ms left, ...}, {ID, ms ago, ABOUT, ...}.

local fleet = KEYS[1]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local replicas, drains = fleet .. ':replicas', fleet .. ':drains'

redis.call('HSET', replicas, ARGV[1], string.format('%.0f %s', now_ms, ARGV[2]))
local alive = {}
local known = redis.call('HGETALL', replicas)
for at = 1, #known, 2 do
  local seen_ms, about = string.match(known[at + 1], '^(%d+) (.*)$')
  local ago_ms = now_ms - tonumber(seen_ms)
  if ago_ms < tonumber(ARGV[3]) then
    alive[#alive + 1] = known[at]
    alive[#alive + 1] = math.max(ago_ms, 0)
    alive[#alive + 1] = about
  else
    redis.call('HDEL', replicas, known[at])
  end
end

local drained = {}
local ordered = redis.call('HGETALL', drains)
for at = 1, #ordered, 2 do
  local left_ms = tonumber(ordered[at + 1]) - now_ms
  if left_ms > 0 then
    drained[#drained + 1] = ordered[at]
    drained[#drained + 1] = left_ms
  else
    redis.call('HDEL', drains, ordered[at])
  end
end

local last = redis.call('XREVRANGE', fleet .. ':news', '+', '-', 'COUNT', 1)[1]
return {redis.call('GET', fleet .. ':registry:version') or '', last and last[1] or '0-0', drained, alive}
