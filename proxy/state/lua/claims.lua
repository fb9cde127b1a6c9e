--#include counters
--#include meters

-- What calls hold until they are settled.
--
--   TAG:claim:CALL      {since ms, tokens of the minute, meters, quotas, attempts, intent}, packed. meters: {KEY, does it
--                       limit tokens?, ...}; quotas: {PERIOD, QUOTA, reserved, ...}. Empty: given up before it was made
--   TAG:leases          CALL -> when its lease runs out, in ms. As long as it is there, it counts as under way
--   TAG:lapsed          CALL -> when it was found that its lease had run out; what it reserved is still held
--   TAG:held:PERIOD     QUOTA -> reserved
--   TAG:counted:CALL    NUSD TOKENS: so much was counted when it ended, and it is not in the books yet
local CLAIM_KEPT_S = 40 * 86400
local SWEPT_AT_ONCE = 20

-- A quota that nobody has asked for yet: what `use` says of it.
local function begin_quota(tag, period, until_s, quota)
  local unit = string.sub(quota, 1, 4) == 'usd\n' and 'nusd' or 'tokens'
  local use, sum = redis.call('HGETALL', tag .. ':use:' .. period), 0
  for at = 1, #use, 2 do
    local key, model, what = string.match(use[at], '^([^\n]*)\n([^\n]*)\n(.*)$')
    if what == unit and covers(quota, key, model) then
      sum = sum + tonumber(use[at + 1])
    end
  end
  redis.call('HSET', tag .. ':quota:' .. period, quota, string.format('%.0f', sum))
  redis.call('EXPIREAT', tag .. ':quota:' .. period, until_s)
  return sum
end

-- What was used of a quota, and what calls under way have reserved.
local function use_of(tag, period, until_s, quota)
  local used = redis.call('HGET', tag .. ':quota:' .. period, quota)
  used = used and tonumber(used) or begin_quota(tag, period, until_s, quota)
  local held = redis.call('HGET', tag .. ':held:' .. period, quota)
  return used, held and tonumber(held) or 0
end

local function hold(tag, period, until_s, quota, amount)
  local held = redis.call('HINCRBY', tag .. ':held:' .. period, quota, amount)
  if held == tonumber(amount) then -- it may be the first of its period
    redis.call('EXPIREAT', tag .. ':held:' .. period, until_s)
  end
end

-- A call is under way no more; or is again.
local function move(tag, meters, step, now)
  for at = 1, #meters, 2 do
    local meter = meter_of(tag, meters[at], now)
    meter.in_flight = math.max(0, meter.in_flight + step)
    keep(meter)
  end
end

-- Calls of which nobody was heard for too long are not under way any more.
local function sweep(tag, now)
  local calls = redis.call('ZRANGEBYSCORE', tag .. ':leases', '-inf', now, 'LIMIT', 0, SWEPT_AT_ONCE)
  for _, call in ipairs(calls) do
    redis.call('ZREM', tag .. ':leases', call)
    local record = redis.call('GET', tag .. ':claim:' .. call)
    if record and record ~= '' then
      redis.call('ZADD', tag .. ':lapsed', now, call)
      move(tag, cmsgpack.unpack(record)[3], -1, now)
    end
  end
  return #calls
end

-- Free all that a call holds. Of the tokens of its minute it used so many; nil: what was reserved stands. `is_void`: it
-- was never made, and was no request either.
local function free(tag, call, record, used, is_void, now)
  local claim = cmsgpack.unpack(record)
  local since, tokens, meters, quotas = claim[1], claim[2], claim[3], claim[4]
  redis.call('DEL', tag .. ':claim:' .. call)
  local leased = redis.call('ZREM', tag .. ':leases', call)
  if leased == 0 then
    redis.call('ZREM', tag .. ':lapsed', call)
  end
  for at = 1, #meters, 2 do
    local meter = meter_of(tag, meters[at], now)
    meter.in_flight = math.max(0, meter.in_flight - leased)
    if used and meters[at + 1] then
      if used <= tokens then
        give_back_tokens(meter, tokens - used, since, now)
      else
        take_tokens(meter, used - tokens)
      end
    end
    if is_void then
      give_back_request(meter, since)
    end
    keep(meter)
  end
  for at = 1, #quotas, 3 do
    redis.call('HINCRBY', tag .. ':held:' .. quotas[at], quotas[at + 1], -quotas[at + 2])
  end
  return #quotas > 0
end

-- A call goes into the books: free what it holds, and say what is still to be counted of it: calls, nano-dollars and
-- tokens. Of one that was counted when it ended that is how far the books differ: its settlement may have been lost, and
-- an orphan takes its place. What it used beyond its reservation is not taken from the minute any more: by now that is
-- mostly over.
local function book_claim(tag, call, nusd, tokens)
  local counted = redis.call('GET', tag .. ':counted:' .. call)
  if counted then
    redis.call('DEL', tag .. ':counted:' .. call)
    local counted_nusd, counted_tokens = string.match(counted, '^(%d+) (%d+)$')
    return 0, nusd - counted_nusd, tokens - counted_tokens
  end
  local record = redis.call('GET', tag .. ':claim:' .. call)
  if record and record ~= '' then
    free(tag, call, record, math.min(tonumber(tokens), cmsgpack.unpack(record)[2]), false, clock(''))
  end
  return 1, nusd, tokens
end
