--#include claims

-- Used and held of each quota. KEYS: TAG. ARGV: PERIOD, EXPIRY in Unix seconds, QUOTA of each
local found = {}
for at = 1, #ARGV, 3 do
  local used, held = use_of(KEYS[1], ARGV[at], ARGV[at + 1], ARGV[at + 2])
  found[#found + 1] = used
  found[#found + 1] = held
end
return found
