-- What a team used in a period, by key and model, and of each of its quotas. A period is named `day:2026-11-21`,
-- `week:2026-11-16` or `month:2026-11-01`, by its first day.
--
--   TAG:use:PERIOD    KEY \n MODEL \n calls|nusd|tokens -> so much
--   TAG:quota:PERIOD  QUOTA -> used. A QUOTA is usd|tokens \n KEY \n MODEL \n MODEL ...: without a key it is the
--                     team's, without models it is for all of them. It begins with what `use` says when it is first
--                     asked for, and is kept up whoever knows of it: replicas may have different configs.

local function covers(quota, key, model)
  local fields = {}
  for field in string.gmatch(quota .. '\n', '([^\n]*)\n') do
    fields[#fields + 1] = field
  end
  if fields[2] ~= '' and fields[2] ~= key then
    return false
  end
  if #fields == 2 then
    return true
  end
  for at = 3, #fields do
    if fields[at] == model then
      return true
    end
  end
  return false
end

-- `periods`: {NAME, EXPIRY in Unix seconds, NAME, EXPIRY, ...}; amounts may be negative, to take something back.
local function count(tag, key, model, periods, calls, nusd, tokens)
  local place = key .. '\n' .. model .. '\n'
  for at = 1, #periods, 2 do
    local use, quotas = tag .. ':use:' .. periods[at], tag .. ':quota:' .. periods[at]
    redis.call('HINCRBY', use, place .. 'calls', calls)
    redis.call('HINCRBY', use, place .. 'nusd', nusd)
    redis.call('HINCRBY', use, place .. 'tokens', tokens)
    redis.call('EXPIREAT', use, periods[at + 1])
    for _, quota in ipairs(redis.call('HKEYS', quotas)) do
      if covers(quota, key, model) then
        redis.call('HINCRBY', quotas, quota, string.sub(quota, 1, 4) == 'usd\n' and nusd or tokens)
      end
    end
  end
end
