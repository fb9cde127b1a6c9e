-- Forget one value that is no answer.
--
--   KEYS  TAG
--   ARGV  key in hex

return redis.call('UNLINK', KEYS[1] .. ':cache:' .. ARGV[1])
