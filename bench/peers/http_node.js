// The seed's hello server under Node's cluster, as the seed has it: port and workers are arguments.
const cluster = require('cluster');

cluster.setupPrimary({ exec: `${__dirname}/hello_server.js` });
for (let i = 0; i < Number(process.argv[3]); i++) cluster.fork({ PORT: process.argv[2] });
cluster.on('exit', () => cluster.fork({ PORT: process.argv[2] }));
