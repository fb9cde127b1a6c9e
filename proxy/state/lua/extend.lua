--#include claims

-- Reserve as much again for one more attempt: of all quotas that the call holds something of, or of none.
-- KEYS: TAG. ARGV: call, which attempt (from 2 on: a second time has no effect), nano-dollars, tokens, the number of the
-- quota that it is exempt from (0: none); size and EXPIRY of each quota, in the order of the claim
-- Gives: 1 done, 0 there is no room, -1 there is no such claim.
local tag, call, attempt, exempt = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5])
local record = redis.call('GET', tag .. ':claim:' .. call)
if not record or record == '' then
  return -1
end
local claim = cmsgpack.unpack(record)
local quotas = claim[4]
if attempt <= claim[5] then
  return 1
end
local amounts = {}
for number = 1, #quotas / 3 do
  local period, quota, size, until_s = quotas[3 * number - 2], quotas[3 * number - 1], ARGV[4 + 2 * number], ARGV[5 + 2 * number]
  local amount = string.sub(quota, 1, 4) == 'usd\n' and ARGV[3] or ARGV[4]
  local used, held = use_of(tag, period, until_s, quota)
  if number ~= exempt and tonumber(amount) > 0 and used + held + tonumber(amount) > tonumber(size) then
    return 0
  end
  amounts[number] = amount
end
for number, amount in ipairs(amounts) do
  hold(tag, quotas[3 * number - 2], ARGV[5 + 2 * number], quotas[3 * number - 1], amount)
  quotas[3 * number] = quotas[3 * number] + tonumber(amount)
end
claim[5] = attempt
redis.call('SET', tag .. ':claim:' .. call, cmsgpack.pack(claim), 'EX', CLAIM_KEPT_S)
return 1
