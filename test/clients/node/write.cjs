// Writes one key after the other, and prints how each write ended.
'use strict';

const { performance } = require('node:perf_hooks');
const { setTimeout: sleep } = require('node:timers/promises');

// write calls open with the name of the master and the Sentinels, and set with what that gave and each key and value.
module.exports = async function write(open, set) {
  const [name, prefix, ...addresses] = process.argv.slice(2);
  const sentinels = addresses.map((a) => {
    const [host, port] = a.split(':');
    return { host, port: Number(port) };
  });
  const client = await open(name, sentinels);
  for (let n = 1; ; n++) {
    const outcome = { n };
    try {
      await set(client, `${prefix}:${n}`, String(n));
    } catch (e) {
      outcome.error = `${e.name}: ${e.message}`;
    }
    // A clock that runs evenly, and that can be compared with the test's.
    outcome.at = (performance.timeOrigin + performance.now()) / 1000;
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
    await sleep(5);
  }
};
