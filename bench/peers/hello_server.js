// The seed's hello server, as `pm2 start hello_server.js -i 2` runs it; the port is in PORT.
const http = require('http');

http.createServer((req, res) => {
  res.writeHead(200);
  res.end('Hello, World!\n');
}).listen(Number(process.env.PORT), '127.0.0.1');
