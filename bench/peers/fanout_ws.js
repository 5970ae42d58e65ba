// The `ws` peer of bench/fanout.py: one process, every message sent to every client.
// A line "RATE SECONDS" on stdin starts evenly spaced publishing; messages begin with their due time.
"use strict";
const { WebSocketServer } = require("ws");
const { createInterface } = require("readline");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, backlog: 4096 }, () =>
  console.log(server.address().port),
);

function publish(rate, seconds) {
  const begin = process.hrtime.bigint();
  const total = Math.round(rate * seconds);
  let sent = 0;
  const timer = setInterval(() => {
    const due = Math.min(total, Math.floor((Number(process.hrtime.bigint() - begin) * rate) / 1e9));
    for (; sent < due; sent++) {
      const at = begin + BigInt(Math.round((sent * 1e9) / rate));
      const text = String(at).padStart(20, "0").padEnd(100, "x");
      for (const client of server.clients) client.send(text);
    }
    if (sent >= total) clearInterval(timer);
  }, Math.max(1, Math.floor(1000 / rate)));
}

createInterface({ input: process.stdin })
  .on("line", (line) => publish(...line.split(" ").map(Number)))
  .on("close", () => process.exit(0));
