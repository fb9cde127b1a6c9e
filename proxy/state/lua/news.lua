-- Tells every gateway of a fleet that something has happened, in the order in which it does: one entry of the stream
-- FLEET:news, which says after which entry it comes, so that who missed one notices. Gives its id.
--
--   kind    keys, drain, undrain, purge
--   origin  which gateway, or command, it came from
--   data    what that kind needs

local function announce(fleet, kind, origin, data)
  local news = fleet .. ':news'
  local last = redis.call('XREVRANGE', news, '+', '-', 'COUNT', 1)[1]
  local after = last and last[1] or '0-0'
  return redis.call('XADD', news, 'MAXLEN', '~', 10000, '*',
    'kind', kind, 'origin', origin, 'after', after, 'data', data)
end
