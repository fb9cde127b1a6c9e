--#include claims

-- Let a call in: of all its limits and quotas, or of none.
-- KEYS: TAG. ARGV: call, now ('' but in tests), lease in ms, its tokens of a minute, what it may come to in nano-dollars
-- and in tokens, its intent, the number of the quota that it is exempt from (0: none), may the cache answer it? (1, 0)
--   how many meters; KEY, rpm, tpm, concurrency (0: no limit) of each
--   how many quotas; PERIOD, EXPIRY in Unix seconds, QUOTA, size, may the cache answer when it is spent? of each
-- Gives: 1 let in, 2 let in without its quotas (only the cache may answer), 3 known already, 0 a limit is short, -1 a
-- quota is; which one of them; rpm 1, tpm 2, concurrency 3; what is left of it; wait in ms, -1 if nobody knows;
--   what is left and the reset in ms, of requests and of tokens, of each meter; used and held of each quota
local tag, call = KEYS[1], ARGV[1]
local now, lease_ms, tokens = clock(ARGV[2]), tonumber(ARGV[3]), math.min(tonumber(ARGV[4]), MAX_TOKENS)
local nusd, quota_tokens, exempt, may_cache = ARGV[5], ARGV[6], tonumber(ARGV[8]), ARGV[9] == '1'
local claim = tag .. ':claim:' .. call
if redis.call('EXISTS', claim, tag .. ':counted:' .. call) > 0 then
  return { 3, 0, 0, 0, 0 }
end
sweep(tag, now)

local meters, at = {}, 11
for number = 1, tonumber(ARGV[10]) do
  local rpm, tpm, most = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local meter = meter_of(tag, ARGV[at], now)
  meter.name, meter.rpm, meter.most = ARGV[at], rpm > 0 and rpm, most > 0 and most
  if tpm > 0 then
    meter.tpm, meter.tokens.limit = tpm, tpm
  end
  meters[number] = meter
  at = at + 4
end

local function lacks(meter)
  return (meter.most and meter.in_flight >= meter.most)
    or (meter.tpm and math.min(tokens, meter.tpm) > remaining(meter.tokens, meter.tpm))
    or (meter.rpm and remaining(meter.requests, meter.rpm) < 1)
end

local function answer(status, which, limit, left, wait, quotas)
  local found = { status, which, limit, left, wait }
  for _, meter in ipairs(meters) do
    local size = #found
    if meter.rpm then
      found[size + 1] = remaining(meter.requests, meter.rpm)
      found[size + 2] = reset_ms(meter, meter.requests, meter.rpm, now)
    else
      found[size + 1], found[size + 2] = 0, 0
    end
    if meter.tpm then
      found[size + 3] = remaining(meter.tokens, meter.tpm)
      found[size + 4] = reset_ms(meter, meter.tokens, meter.tpm, now)
    else
      found[size + 3], found[size + 4] = 0, 0
    end
  end
  for _, quota in ipairs(quotas or {}) do
    found[#found + 1] = quota.used
    found[#found + 1] = quota.held
  end
  return found
end

-- Of the limits that are short the one that takes longest: see `shortage` of proxy/accounting/reserve.py.
local function refused()
  local which, limit, left, wait, longest, lacking = 0, 0, 0, -1, 0, 0
  for number, meter in ipairs(meters) do
    if meter.most and meter.in_flight >= meter.most and which == 0 then
      which, limit = number, 3
    end
    for kind, of in ipairs({ 'requests', 'tokens' }) do
      local size, amount = kind == 1 and meter.rpm or kind == 2 and meter.tpm, kind == 1 and 1 or tokens
      if size then
        local takes = wait_ms(meter, of, amount, size, now)
        longest = math.max(longest, takes)
        if math.min(amount, size) > remaining(meter[of], size) and takes > lacking then
          which, limit, left, lacking = number, kind, remaining(meter[of], size), takes
        end
      end
    end
  end
  for _, meter in ipairs(meters) do
    if meter.was_ahead then
      keep(meter)
    end
  end
  return answer(0, which, limit, left, limit == 3 and -1 or longest)
end

for _, meter in ipairs(meters) do
  if lacks(meter) then
    return refused()
  end
end

local quotas, short, is_for_cache = {}, nil, may_cache
local first = at + 1
for number = 1, tonumber(ARGV[at]) do
  at = first + 5 * (number - 1)
  local used, held = use_of(tag, ARGV[at], ARGV[at + 1], ARGV[at + 2])
  local amount = string.sub(ARGV[at + 2], 1, 4) == 'usd\n' and nusd or quota_tokens
  local needed = tonumber(amount)
  if number ~= exempt and needed > 0 and used + held + needed > tonumber(ARGV[at + 3]) then
    short = short or number
    is_for_cache = is_for_cache and ARGV[at + 4] == '1'
  end
  quotas[number] = { used = used, held = held, amount = amount, at = at }
end
if short and not is_for_cache then
  return answer(-1, short, 0, 0, 0, quotas)
end

local named, reserved = {}, {}
for number, meter in ipairs(meters) do
  meter.in_flight = meter.in_flight + 1
  if meter.rpm then
    take_request(meter)
  end
  if meter.tpm then
    take_tokens(meter, tokens)
  end
  keep(meter)
  named[2 * number - 1], named[2 * number] = meter.name, meter.tpm and true or false
end
if not short then
  for number, quota in ipairs(quotas) do
    local period, name = ARGV[quota.at], ARGV[quota.at + 2]
    hold(tag, period, ARGV[quota.at + 1], name, quota.amount)
    quota.held = quota.held + tonumber(quota.amount)
    reserved[3 * number - 2], reserved[3 * number - 1], reserved[3 * number] = period, name, tonumber(quota.amount)
  end
end
redis.call('SET', claim, cmsgpack.pack({ now, tokens, named, reserved, 1, ARGV[7] }), 'EX', CLAIM_KEPT_S)
redis.call('ZADD', tag .. ':leases', now + lease_ms, call)
return answer(short and 2 or 1, short or 0, 0, 0, 0, quotas)
