-- What one gateway tells the others and nobody keeps.
--
--   KEYS[1]  FLEET
--   ARGV     the message

return redis.call('PUBLISH', KEYS[1] .. ':fleet', ARGV[1])
