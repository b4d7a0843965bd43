// Usage: ioredis.cjs MASTER PREFIX HOST:PORT...
'use strict';

const Redis = require('ioredis');
const write = require('./write.cjs');

write(
  (name, sentinels) => {
    const redis = new Redis({ sentinels, name });
    redis.on('error', (e) => console.error(`${e.name}: ${e.message}`));
    return redis;
  },
  (redis, key, value) => redis.set(key, value),
);
