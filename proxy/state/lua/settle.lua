#!lua flags=allow-oom
--#include claims

-- A call is over: free what it holds, and count it if it fell under quotas. Once: a second time gives 0.
-- KEYS: TAG. ARGV: call, now ('' but in tests), its tokens of a minute ('': what was reserved stands), key, model,
-- nano-dollars, tokens, periods as `count` takes them
local tag, call = KEYS[1], ARGV[1]
local record = redis.call('GET', tag .. ':claim:' .. call)
if not record or record == '' then
  return 0
end
local used = ARGV[3] ~= '' and math.min(tonumber(ARGV[3]), MAX_TOKENS) or nil
if free(tag, call, record, used, false, clock(ARGV[2])) then
  local periods = {}
  for at = 8, #ARGV do
    periods[at - 7] = ARGV[at]
  end
  count(tag, ARGV[4], ARGV[5], periods, 1, ARGV[6], ARGV[7])
  redis.call('SET', tag .. ':counted:' .. call, ARGV[6] .. ' ' .. ARGV[7], 'EX', CLAIM_KEPT_S)
end
return 1
