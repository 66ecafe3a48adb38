// Asks over the agent of Node's standard library: a line of stdin is a path, a line of stdout is an answer.
//
// The answer's line: status, connections opened so far, the client's address as the server saw it, the body.
"use strict";

const https = require("https");
const readline = require("readline");

const [address, version] = process.argv.slice(2);
const [host, port] = address.split(":");
const name = { TLSv1_2: "TLSv1.2", TLSv1_3: "TLSv1.3" }[version];

let opened = 0;
class Counting extends https.Agent {
  createConnection(...args) {
    opened += 1;
    return super.createConnection(...args);
  }
}
const agent = new Counting({
  keepAlive: true,
  maxSockets: 1,
  rejectUnauthorized: false,
  minVersion: name,
  maxVersion: name,
});

readline.createInterface({ input: process.stdin }).on("line", (path) => {
  const request = https.get({ host, port, path, agent }, (answer) => {
    let body = "";
    answer.on("data", (piece) => (body += piece));
    // The socket goes back to the pool first.
    answer.on("end", () =>
      setImmediate(() => console.log(answer.statusCode, opened, answer.headers.peer, body)),
    );
  });
  request.on("error", (error) => {
    console.log(`failed: ${error}`);
    process.exit(1);
  });
});
