--#include counters

-- A call goes into the books: free what it holds, and count it, unless that was done when it ended.
local function book_claim(tag, call, key, model, periods, nusd, tokens)
  count(tag, key, model, periods, 1, nusd, tokens)
end
