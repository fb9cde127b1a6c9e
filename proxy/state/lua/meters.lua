-- What a team, or one of its keys, used in the last minute, and how many of its calls are under way: the twin of
-- `proxy/accounting/window.py`, which says why it counts as it does. Times are milliseconds of Redis' own clock.
--
--   TAG:rate:KEY      a string of 1,985 bytes: a head, and a slot for each half second (the key's; without one the team's)
--
-- A slot holds the requests, the tokens, and the credit that were entered in it. Only what a call needs is read, and only
-- what it changes is written: a string of 2 KB takes 2.3 us to hand to a script, 16 bytes of it 0.4.

-- Before version 7 nothing may be written after TIME was asked for, unless this is said first.
if redis.replicate_commands then
  redis.replicate_commands()
end

local WIDTH_MS, COUNT = 500, 121
local HEAD, HEAD_BYTES = '<I4I5I6I5I6I6I6I5I6', 49
local SLOT, SLOT_BYTES = '<I4I6I6', 16
local SPAN_MS, CYCLE_MS = 60000, COUNT * WIDTH_MS
local MAX_OWED = 60
-- So many slots are read one by one.
local FEW = 4
local MAX_TOKENS = 2 ^ 40
-- No call lasts as long, so none is under way when a meter is forgotten; renewed within any hour of use.
local KEPT_S, RENEWED_SLOTS = 26 * 3600, 7200

-- Tests say what time it is, nobody else does.
local function clock(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function usable(tokens)
  return math.min(tokens.credit, math.floor(tokens.limit / 2))
end

-- Many slots are about to be looked at.
local function read_all(meter)
  meter.data = meter.data or redis.call('GET', meter.key)
end

local function slot_at(meter, place)
  local slot = meter.slots[place]
  if not slot then
    local data, first = meter.data, HEAD_BYTES + place * SLOT_BYTES
    if not data then
      data, first = redis.call('GETRANGE', meter.key, first, first + SLOT_BYTES - 1), 0
    end
    local requests, tokens, spared = struct.unpack(SLOT, data, first + 1)
    slot = { requests = requests, tokens = tokens, spared = spared }
    meter.slots[place] = slot
  end
  return slot
end

local function changed_at(meter, place)
  meter.changed[place] = true
  return slot_at(meter, place)
end

local function wipe(meter)
  meter.data = string.rep('\0', HEAD_BYTES + COUNT * SLOT_BYTES)
  meter.slots, meter.changed, meter.is_new = {}, {}, true
  meter.requests.total, meter.tokens.total, meter.tokens.credit = 0, 0, 0
end

-- A slot is a minute old: forget what is in it, and let what is owed take its place.
local function pass(meter)
  local place, tokens = meter.slot % COUNT, meter.tokens
  local slot = slot_at(meter, place)
  if slot.requests ~= 0 or slot.tokens ~= 0 or slot.spared ~= 0 then
    meter.changed[place] = true
    meter.requests.total = meter.requests.total - slot.requests
    tokens.total = tokens.total - slot.tokens
    tokens.credit = tokens.credit - slot.spared
    slot.requests, slot.tokens, slot.spared = 0, 0, 0
  end
  if tokens.owed > 0 then
    local paid = math.max(0, math.min(tokens.owed, tokens.limit + usable(tokens) - tokens.total))
    tokens.owed = tokens.owed - paid
    tokens.total = tokens.total + paid
    tokens.newest = meter.slot
    slot.tokens = paid
    meter.changed[place] = true
  end
end

local function advance(meter, now)
  local slot, requests, tokens = math.floor(now / WIDTH_MS), meter.requests, meter.tokens
  local ahead = meter.slot - slot
  if ahead >= COUNT then -- the clock was set back: stand still for a minute, and no longer
    local back = math.floor(ahead / COUNT) * COUNT
    meter.slot, meter.was_ahead = meter.slot - back, true
    requests.newest = math.max(0, requests.newest - back)
    tokens.newest = math.max(0, tokens.newest - back)
  end
  if slot <= meter.slot then
    return
  end
  if tokens.owed > 0 and slot - meter.slot > 3 * COUNT then -- after a long rest: each cycle repaid the limit
    local cycles = math.floor((slot - meter.slot) / COUNT) - 2
    cycles = math.min(math.floor(tokens.owed / tokens.limit), cycles)
    tokens.owed = tokens.owed - cycles * tokens.limit
    meter.slot = meter.slot + cycles * COUNT
  end
  if slot - meter.slot > FEW then
    read_all(meter)
  end
  while meter.slot < slot and (requests.total > 0 or tokens.total > 0 or tokens.credit > 0) do
    if tokens.owed == 0 and slot - meter.slot >= COUNT then
      wipe(meter)
      break
    end
    meter.slot = meter.slot + 1
    pass(meter)
  end
  meter.slot = slot
end

-- A meter as it is now.
local function meter_of(tag, name, now)
  local key = tag .. ':rate:' .. name
  local meter = { key = key, slots = {}, changed = {} }
  local head = redis.call('GETRANGE', key, 0, HEAD_BYTES - 1)
  if head ~= '' then
    local in_flight, slot, requests, requests_newest, total, credit, owed, newest, limit = struct.unpack(HEAD, head)
    meter.in_flight, meter.slot, meter.read_at = in_flight, slot, slot
    meter.requests = { total = requests, newest = requests_newest, credit = 0, owed = 0 }
    meter.tokens = { total = total, newest = newest, credit = credit, owed = owed, limit = limit }
  else
    meter.in_flight, meter.slot = 0, math.floor(now / WIDTH_MS)
    meter.requests = { total = 0, newest = 0, credit = 0, owed = 0 }
    meter.tokens = { total = 0, newest = 0, credit = 0, owed = 0, limit = 1 }
    wipe(meter)
  end
  advance(meter, now)
  return meter
end

local function keep(meter)
  local requests, tokens = meter.requests, meter.tokens
  local head = struct.pack(HEAD, meter.in_flight, meter.slot, requests.total, requests.newest, tokens.total,
    tokens.credit, tokens.owed, tokens.newest, tokens.limit)
  if meter.is_new then
    redis.call('SET', meter.key, head .. string.rep('\0', COUNT * SLOT_BYTES), 'EX', KEPT_S)
  else
    redis.call('SETRANGE', meter.key, 0, head)
    if math.floor(meter.slot / RENEWED_SLOTS) ~= math.floor(meter.read_at / RENEWED_SLOTS) then
      redis.call('EXPIRE', meter.key, KEPT_S)
    end
  end
  for place in pairs(meter.changed) do
    local slot = meter.slots[place]
    redis.call('SETRANGE', meter.key, HEAD_BYTES + place * SLOT_BYTES,
      struct.pack(SLOT, slot.requests, slot.tokens, slot.spared))
  end
end

local function remaining(window, limit)
  local credit = window.credit > 0 and math.min(window.credit, math.floor(limit / 2)) or 0
  return math.max(0, math.min(limit - window.total - window.owed + credit, limit))
end

local function take_request(meter)
  local slot, requests = changed_at(meter, meter.slot % COUNT), meter.requests
  slot.requests = slot.requests + 1
  requests.total = requests.total + 1
  requests.newest = meter.slot
end

local function take_tokens(meter, amount)
  local slot, tokens = changed_at(meter, meter.slot % COUNT), meter.tokens
  local room = tokens.limit - tokens.total
  if amount > room then
    room = math.max(0, room + usable(tokens))
    if amount > room then
      tokens.owed = math.min(tokens.owed + amount - room, MAX_OWED * tokens.limit)
      amount = room
    end
  end
  slot.tokens = slot.tokens + amount
  tokens.total = tokens.total + amount
  tokens.newest = meter.slot
end

-- Where something was taken at that time; nil: it is forgotten.
local function place_of(meter, since)
  local slot = math.min(math.floor(since / WIDTH_MS), meter.slot)
  return slot > meter.slot - COUNT and slot % COUNT or nil
end

local function give_back_request(meter, since)
  local place = place_of(meter, since)
  if place then
    local slot = changed_at(meter, place)
    local back = math.min(1, slot.requests)
    slot.requests = slot.requests - back
    meter.requests.total = meter.requests.total - back
  end
end

local function give_back_tokens(meter, amount, since, now)
  local tokens = meter.tokens
  local forgiven = math.min(amount, tokens.owed)
  tokens.owed = tokens.owed - forgiven
  amount = amount - forgiven
  -- So many tokens of a minute's worth were kept from others.
  local credit = math.floor(amount * math.max(0, math.min(now - since, SPAN_MS)) / SPAN_MS)
  if credit > 0 then
    local slot = changed_at(meter, meter.slot % COUNT)
    slot.spared = slot.spared + credit
    tokens.credit = tokens.credit + credit
    tokens.newest = meter.slot
  end
  local place = place_of(meter, since)
  if place then
    local slot = changed_at(meter, place)
    local back = math.min(amount, slot.tokens)
    slot.tokens = slot.tokens - back
    tokens.total = tokens.total - back
  end
end

-- After so many milliseconds there is room for so much, and stays so until somebody takes it. O(slots).
local function wait_ms(meter, of, amount, limit, now)
  read_all(meter)
  local window = meter[of]
  local need, left, credit = math.min(amount, limit), window.total + window.owed, window.credit
  local cap = math.floor(limit / 2)
  local fits = left - math.min(credit, cap) + need <= limit
  if fits and credit == 0 then
    return 0
  end
  local since = fits and meter.slot - COUNT or nil
  for number = meter.slot - COUNT + 1, meter.slot do
    local slot = slot_at(meter, number % COUNT)
    left = left - slot[of]
    if of == 'tokens' then
      credit = credit - slot.spared
    end
    if left - math.min(credit, cap) + need > limit then
      since = nil
    elseif not since then
      since = number
    end
  end
  if since then
    return math.max(0, (since + COUNT) * WIDTH_MS - now)
  end
  -- It owes more than a minute can repay; each further one repays the limit.
  local cycles = 1 + math.ceil((left + need - limit) / limit)
  return (meter.slot + 1) * WIDTH_MS - now + cycles * CYCLE_MS
end

-- After so many milliseconds all of the limit is there again, if nobody takes anything.
local function reset_ms(meter, window, limit, now)
  if window.total == 0 and window.credit == 0 then
    return 0
  end
  local wait = (window.newest + COUNT) * WIDTH_MS - now
  return window.owed == 0 and wait or wait + math.ceil(window.owed / limit) * CYCLE_MS
end
