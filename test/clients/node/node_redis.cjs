// Usage: node_redis.cjs MASTER PREFIX HOST:PORT...
'use strict';

const { createSentinel } = require('redis');
const write = require('./write.cjs');

write(
  (name, sentinels) =>
    createSentinel({ name, sentinelRootNodes: sentinels })
      .on('error', (e) => console.error(`${e.name}: ${e.message}`))
      .connect(),
  (client, key, value) => client.set(key, value),
);
