-- One step of forgetting answers: goes through some of all keys. What each answer says of itself is its first line, as
-- proxy/cache/codec.py writes it; what has no such line is no answer, and goes too.
--
--   KEYS  TAG of the team, or the fleet's where answers of all teams are meant
--   ARGV  cursor, pattern of the keys' names, how many to go through, id | '', model | '', stored before (ms) | ''
--
-- Gives {next cursor, keys of what is forgotten, names of indexes that were met}.

local HEAD_BYTES = 18
local LINE_BYTES = 4000

local id, model, before = ARGV[4], ARGV[5], tonumber(ARGV[6])
local has_terms = id ~= '' or model ~= '' or before

local function is_meant(name)
  if not has_terms then
    return true
  end
  local line = string.match(redis.call('GETRANGE', name, HEAD_BYTES, HEAD_BYTES + LINE_BYTES), '^[^\n]*')
  local is_read, facts = pcall(cjson.decode, line)
  if not is_read or type(facts) ~= 'table' or #facts < 7 then
    return true
  end
  return (id == '' or facts[4] == id or facts[5] == id or facts[6] == id)
    and (model == '' or facts[2] == model)
    and (not before or facts[7] * 1000 < before)
end

local scanned = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local keys, indexes = {}, {}
for _, name in ipairs(scanned[2]) do
  local kind, rest = string.match(name, '}:(%a+):(%x+)$')
  if kind == 'index' then
    indexes[#indexes + 1] = name
  elseif kind == 'cache' and is_meant(name) then
    redis.call('UNLINK', name)
    keys[#keys + 1] = rest
  end
end
return {scanned[1], keys, indexes}
