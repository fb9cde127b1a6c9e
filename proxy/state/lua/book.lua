--#include claims

-- Enters calls of one team into the books: all of them, or none if one of them is there already. How all of it lies is
-- said in redis_books.py. `book_claim` tells what is still to be counted of a call.
--
-- KEYS[1] = TAG. ARGV[1] is JSON, five lists:
--   periods  NAME, EXPIRY, three times: see counters.lua
--   calls    HOUR, call id, 1 if it is what became of an orphan or 0, HOUR booked, late DAY or '', ended ms
--   names    DAY, name, BEGAN_MS \n call id
--   counts   place of its periods, call id or '' if the call was counted before, key, model, nano-dollars, tokens
--   sums     SUFFIX, HOUR, group, measures: places, each with what is to be added
-- and behind it are the settlements of the calls.
--
-- Gives {} when it is done; else of each call that is in the way its place among the calls, and what there is of it.

local tag = KEYS[1]
local periods, calls, names, counts, sums = unpack(cjson.decode(ARGV[1]))

-- Calls lie by the hour in which they began; nearly always it is one.
local by_hour = {}
for number, call in ipairs(calls) do
  local found = by_hour[call[1]]
  if not found then
    found = {place = tag .. ':calls:' .. call[1], numbers = {}, fields = {}, last = 0}
    by_hour[call[1]] = found
  end
  found.numbers[#found.numbers + 1] = number
  found.fields[#found.fields + 1] = call[2]
  found.fields[#found.fields + 1] = call[2] .. '\n'
  found.last = math.max(found.last, call[4])
end
local known = {}
for _, found in pairs(by_hour) do
  local records = redis.call('HMGET', found.place, unpack(found.fields))
  for at, number in ipairs(found.numbers) do
    local first, truth = records[2 * at - 1], records[2 * at]
    if (first and 1 or 0) ~= calls[number][3] or truth then
      known[#known + 1] = {number - 1, first, truth}
    end
  end
end
if #known > 0 then
  return known
end

local books, time = tag .. ':books', redis.call('TIME')
local now_ms = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
local stamp = struct.pack('>I6', redis.call('HINCRBY', books, 'stamp', 1))
for hour, found in pairs(by_hour) do
  local records = {}
  for _, number in ipairs(found.numbers) do
    local call = calls[number]
    records[#records + 1] = call[3] == 1 and call[2] .. '\n' or call[2]
    records[#records + 1] = stamp .. ARGV[number + 1]
  end
  redis.call('HSET', found.place, unpack(records))
  local before, last = redis.call('HGET', books .. ':hours', hour), found.last
  if before then
    last = math.max(last, tonumber(string.match(before, '%d+')))
  end
  redis.call('HSET', books .. ':hours', hour, string.format('%d ', last) .. now_ms)
end

local latest = tonumber(redis.call('HGET', books, 'latest') or 0)
local has_opened = redis.call('EXISTS', tag .. ':opened') == 1
for _, call in ipairs(calls) do
  local hour, id, late = call[1], call[2], call[5]
  if late ~= '' then
    redis.call('HSET', tag .. ':late:' .. late, call[3] == 1 and id .. '\n' or id, hour)
    redis.call('SADD', books .. ':late', late)
  end
  local opened = has_opened and redis.call('HGET', tag .. ':opened', id)
  if opened then
    redis.call('HDEL', tag .. ':opened', id)
    redis.call('ZREM', tag .. ':open:' .. string.match(opened, '[^\n]*'), id)
  end
  latest = math.max(latest, call[6])
end
redis.call('HSET', books, 'latest', string.format('%d', latest))

for _, name in ipairs(names) do
  local place = tag .. ':named:' .. name[1]
  local before = redis.call('HGET', place, name[2])
  if not before or before < name[3] then
    redis.call('HSET', place, name[2], name[3])
  end
end

-- What is to be counted is added up by periods, key and model first, as far as a double takes it: counting costs more
-- than all the rest.
local due, in_order = {}, {}
for _, one in ipairs(counts) do
  local of, call, key, model, nusd, tokens = unpack(one)
  local calls = 0
  if call ~= '' then
    calls, nusd, tokens = book_claim(tag, call, nusd, tokens)
  end
  if calls ~= 0 or nusd ~= 0 or tokens ~= 0 then
    local name = of .. '\n' .. key .. '\n' .. model
    local sum = due[name]
    if not sum or math.abs(sum.nusd) + math.abs(nusd) > 2 ^ 53 or math.abs(sum.tokens) + math.abs(tokens) > 2 ^ 53 then
      sum = {periods = periods[of], key = key, model = model, calls = 0, nusd = 0, tokens = 0}
      due[name], in_order[#in_order + 1] = sum, sum
    end
    sum.calls = sum.calls + calls
    sum.nusd, sum.tokens = sum.nusd + nusd, sum.tokens + tokens
  end
end
for _, sum in ipairs(in_order) do
  count(tag, sum.key, sum.model, sum.periods, sum.calls, sum.nusd, sum.tokens)
end

-- Which rows of a table these are; those that are not there yet come behind the others.
local function rows_of(place, fields)
  local rows, size = redis.call('HMGET', place, unpack(fields)), false
  for at, field in ipairs(fields) do
    if not rows[at] then
      size = size or redis.call('HLEN', place)
      if redis.call('HSETNX', place, field, size) == 1 then
        rows[at], size = size, size + 1
      else
        rows[at] = redis.call('HGET', place, field)
      end
    end
  end
  return rows
end

local function add(place, rows, sums)
  local command = {place}
  for at, row in ipairs(rows) do
    local measures = sums[at][4]
    for number = 1, #measures, 2 do
      local size = #command
      command[size + 1], command[size + 2] = 'INCRBY', 'i64'
      command[size + 3], command[size + 4] = string.format('#%d', row * 13 + measures[number]), measures[number + 1]
    end
    if #command > 1000 or at == #rows then
      redis.call('BITFIELD', unpack(command))
      command = {place}
    end
  end
end

local by_suffix = {}
for _, sum in ipairs(sums) do
  by_suffix[sum[1]] = by_suffix[sum[1]] or {}
  table.insert(by_suffix[sum[1]], sum)
end
for suffix, some in pairs(by_suffix) do
  local fields = {}
  for at, sum in ipairs(some) do
    fields[at] = sum[3]
  end
  local rows = rows_of(tag .. ':groups:' .. suffix, fields)
  for at, sum in ipairs(some) do
    fields[at] = sum[2] .. '.' .. rows[at]
  end
  add(tag .. ':sums:day:' .. suffix, rows, some)
  add(tag .. ':sums:hour:' .. suffix, rows_of(tag .. ':hours:' .. suffix, fields), some)
  redis.call('SADD', books .. ':days', suffix)
end
return {}
