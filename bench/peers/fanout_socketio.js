// The Socket.IO peer of bench/fanout.py: two workers and the cluster adapter; one of them publishes.
// A line "RATE SECONDS" on stdin starts evenly spaced publishing; messages begin with their due time.
"use strict";
const cluster = require("cluster");
const { createServer } = require("http");
const { createInterface } = require("readline");
const { Server } = require("socket.io");
const { createAdapter, setupPrimary } = require("@socket.io/cluster-adapter");

const WORKERS = 2;

function publish(io, rate, seconds) {
  const begin = process.hrtime.bigint();
  const total = Math.round(rate * seconds);
  let sent = 0;
  const timer = setInterval(() => {
    const due = Math.min(total, Math.floor((Number(process.hrtime.bigint() - begin) * rate) / 1e9));
    for (; sent < due; sent++) {
      const at = begin + BigInt(Math.round((sent * 1e9) / rate));
      io.emit("m", String(at).padStart(20, "0").padEnd(100, "x"));
    }
    if (sent >= total) clearInterval(timer);
  }, Math.max(1, Math.floor(1000 / rate)));
}

if (cluster.isPrimary) {
  setupPrimary();
  let listening = 0;
  for (let index = 0; index < WORKERS; index++) cluster.fork({ FANOUT_PORT: "0" });
  cluster.on("listening", (_, address) => {
    if (++listening === WORKERS) console.log(address.port);
  });
  createInterface({ input: process.stdin })
    .on("line", (line) => Object.values(cluster.workers)[0].send({ fanout: line }))
    .on("close", () => process.exit(0));
} else {
  const http = createServer();
  const io = new Server(http, { transports: ["websocket"] });
  io.adapter(createAdapter());
  http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 });
  process.on("message", (message) => {
    if (message && message.fanout) publish(io, ...message.fanout.split(" ").map(Number));
  });
  process.on("disconnect", () => process.exit(0));
}
