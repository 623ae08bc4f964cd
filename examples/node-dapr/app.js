// A Dapr pub/sub subscriber over HTTP that checks no token: tokenagent stands
// before it. It listens on 127.0.0.1 alone, so that nobody comes past.
'use strict';

const http = require('node:http');

const port = Number(process.env.PORT || 3000);
const pubsubname = process.env.PUBSUB || 'pubsub';
const topic = process.env.TOPIC || 'orders';
const maxBody = 4 << 20; // bytes; what daprd takes by default

const server = http.createServer((req, res) => {
  const body = [];
  let size = 0;
  req.on('data', (chunk) => {
    size += chunk.length;
    if (size <= maxBody) body.push(chunk); // the rest is read too, and dropped
  });
  req.on('error', () => {}); // the sender has gone
  req.on('end', () => {
    if (size > maxBody) {
      res.statusCode = 413;
      return res.end();
    }
    switch (`${req.method} ${req.url.split('?')[0]}`) {
      case 'GET /healthz':
        return res.end();
      case 'GET /dapr/subscribe':
        return json(res, [{ pubsubname, topic, route: '/orders' }]);
      case 'POST /orders':
        return json(res, { status: take(Buffer.concat(body), req.headers['x-tokenagent-subject']) });
      default:
        res.statusCode = 404;
        return res.end();
    }
  });
});

// take tells daprd what to do with an event. One that is not JSON is dropped: it never
// will be.
function take(body, from) {
  try {
    console.log(`order ${JSON.stringify(JSON.parse(body).data)} from ${from}`);
    return 'SUCCESS';
  } catch {
    return 'DROP';
  }
}

function json(res, value) {
  res.setHeader('Content-Type', 'application/json');
  res.end(JSON.stringify(value));
}

// Longer than the 1.5 s for which the proxy keeps an idle connection: a request
// that meets the end of its connection is lost on the way.
server.keepAliveTimeout = 120_000;
server.listen(port, '127.0.0.1');

process.on('SIGTERM', () => {
  server.close(); // lets the requests in flight end
  server.closeIdleConnections();
});
