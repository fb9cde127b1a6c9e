-- Forgets what one team's books need no more. KEYS[1] = TAG; ARGV =
--   HOUR and DAY: calls that were booked before that hour; what was written after so many Unix milliseconds stays
--   DAY: sums of days before it
--   how many calls at a time, more or less
-- Gives how many calls it were. UNLINK frees the memory on a thread of Redis'.

local tag, first_hour, first_day, before_ms = KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local sums_from, limit = ARGV[4], tonumber(ARGV[5])

local function day_of(hour)
  return string.format('%d', math.floor(hour / 24))
end

local kept = redis.call('HGET', tag .. ':books', 'kept')
if not kept or tonumber(string.match(kept, '%-?%d+')) < first_hour then
  redis.call('HSET', tag .. ':books', 'kept', ARGV[1] .. ' ' .. first_day)
end

local forgotten, gone, left = 0, {}, {}
local hours = redis.call('HGETALL', tag .. ':books:hours')
for at = 1, #hours, 2 do
  local hour = hours[at]
  local last, written = string.match(hours[at + 1], '(%-?%d+) (%d+)')
  if forgotten < limit and tonumber(last) < first_hour and tonumber(written) <= before_ms then
    forgotten = forgotten + redis.call('HLEN', tag .. ':calls:' .. hour)
    redis.call('UNLINK', tag .. ':calls:' .. hour)
    redis.call('HDEL', tag .. ':books:hours', hour)
    gone[day_of(hour)] = true
  else
    left[day_of(hour)] = true
  end
end
for day in pairs(gone) do
  if not left[day] then
    redis.call('UNLINK', tag .. ':named:' .. day)
  end
end
for _, day in ipairs(redis.call('SMEMBERS', tag .. ':books:late')) do
  if day < first_day and forgotten < limit then
    redis.call('UNLINK', tag .. ':late:' .. day)
    redis.call('SREM', tag .. ':books:late', day)
  end
end
for _, suffix in ipairs(redis.call('SMEMBERS', tag .. ':books:days')) do
  if string.sub(suffix, 1, 10) < sums_from then
    for _, kind in ipairs({':groups:', ':sums:day:', ':hours:', ':sums:hour:'}) do
      redis.call('UNLINK', tag .. kind .. suffix)
    end
    redis.call('SREM', tag .. ':books:days', suffix)
  end
end
return forgotten
