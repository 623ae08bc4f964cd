// A Dapr pub/sub subscriber over HTTP that checks no token: tokenagent stands
// before it. It listens on 127.0.0.1 alone, so that nobody comes past.
'use strict';

const http = require('node:http');

const port = Number(process.env.PORT || 3000);

const server = http.createServer((req, res) => {
  const body = [];
  req.on('data', (chunk) => body.push(chunk));
  req.on('error', () => {}); // the sender has gone
  req.on('end', () => {
    const event = Buffer.concat(body);
    switch (`${req.method} ${new URL(req.url, 'http://app').pathname}`) {
      case 'GET /healthz':
        return res.end();
      case 'GET /dapr/subscribe':
        return json(res, [{ pubsubname: 'pubsub', topic: 'orders', route: '/orders' }]);
      case 'POST /orders':
        console.log(`an order of ${event.length} bytes from ${req.headers['x-tokenagent-subject']}`);
        return json(res, { status: 'SUCCESS' });
      default:
        res.statusCode = 404;
        return res.end();
    }
  });
});

function json(res, value) {
  res.setHeader('Content-Type', 'application/json');
  res.end(JSON.stringify(value));
}

// Longer than the 90 s for which the proxy keeps an idle connection: the end that
// closes first decides whether a request is lost on the way.
server.keepAliveTimeout = 120_000;
server.listen(port, '127.0.0.1');

process.on('SIGTERM', () => {
  server.close(); // what is under way ends
  server.closeIdleConnections();
});
