-- Was something of this team purged since `ago` ms ago? Then what set out before it may be just what was meant. The
-- clock is Redis' own; the margin is for the time that the command was on its way.

local MARGIN_MS = 2000

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function was_purged(tag, ago)
  local purged = tonumber(redis.call('GET', tag .. ':purged') or '0')
  return purged >= now_ms() - tonumber(ago) - MARGIN_MS
end
