// The same under Node's cluster: says which process answers, and hangs when it is asked to.
const cluster = require('cluster');
const http = require('http');

const [, , port, workers] = process.argv;
const HANG_MS = 4000;

if (cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', () => { if (++listening === Number(workers)) console.log('serving'); });
  for (let i = 0; i < Number(workers); i++) cluster.fork();
} else {
  const server = http.createServer((req, res) => {
    if (req.url === '/hang') {
      const until = Date.now() + HANG_MS;
      while (Date.now() < until) { /* hold the event loop */ }
    }
    const body = String(process.pid);
    res.writeHead(200, { 'content-length': body.length });
    res.end(body);
  });
  server.keepAliveTimeout = 60000;
  server.listen(Number(port), '127.0.0.1', 4096);
}
