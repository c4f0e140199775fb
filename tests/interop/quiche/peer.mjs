// A raw QUIC peer on quiche: node peer.mjs client HOST PORT PKI ALPN HEX | server PKI
// The client sends HEX on a stream and prints what came back and how stream and connection ended, as JSON. The server
// prints its port, and then how each connection ended.
import { QUICClient, QUICServer, events } from '@matrixai/quic';
import { readFileSync } from 'node:fs';
import { webcrypto, createHmac, timingSafeEqual, randomBytes } from 'node:crypto';

const say = (facts) => process.stdout.write(JSON.stringify(facts) + '\n');
const ops = {
  randomBytes: async (data) => { webcrypto.getRandomValues(new Uint8Array(data)); },
  sign: async (key, data) => hmac(key, data),
  verify: async (key, data, signature) => timingSafeEqual(Buffer.from(hmac(key, data)), Buffer.from(signature)),
};
const hmac = (key, data) => {
  const digest = createHmac('sha256', Buffer.from(key)).update(Buffer.from(data)).digest();
  return digest.buffer.slice(digest.byteOffset, digest.byteOffset + digest.byteLength); // its own ArrayBuffer
};

function configOf(pki, alpn, checksNames) {
  const read = (name) => readFileSync(`${pki}/${name}`);
  const config = { ca: read('ca.crt'), verifyPeer: true, applicationProtos: [alpn], maxIdleTimeout: 10000 };
  if (!checksNames) config.verifyCallback = async () => undefined; // the chain is quiche's to check, names are ours
  try {
    config.key = read('tndrl.key').toString();
    config.cert = read('tndrl.crt').toString();
  } catch (error) {
    if (error.code !== 'ENOENT') throw error; // a client without a certificate
  }
  return config;
}

// How a connection ended, as far as the error says: the code, and whose it is.
function ending(error) {
  const data = error?.data ?? {};
  return { name: error?.name, code: data.errorCode, application: data.isApp, reason: data.reason?.toString() };
}

async function client([host, port, pki, alpn, hex]) {
  let quic;
  try {
    quic = await QUICClient.createQUICClient(
      { host, port: Number(port), localHost: '127.0.0.1', crypto: { ops }, config: configOf(pki, alpn, false),
        codeToReason: (_type, code) => new Error(String(code)), reasonToCode: () => 0 },
      { timer: 10000 },
    );
  } catch (error) {
    say({ connected: false, close: ending(error) });
    return;
  }
  const closed = new Promise((resolve) => {
    quic.connection.addEventListener(events.EventQUICConnectionClose.name, (event) => resolve(ending(event.detail)));
  });
  const facts = { connected: true };
  if (hex) {
    const stream = quic.connection.newStream();
    try {
      const writer = stream.writable.getWriter();
      await writer.write(Buffer.from(hex, 'hex'));
      const received = [];
      const reader = stream.readable.getReader();
      const first = await reader.read();
      if (!first.done) received.push(Buffer.from(first.value));
      facts.received = Buffer.concat(received).toString('hex');
    } catch (error) {
      facts.reset = Number(error?.cause?.message ?? error?.message);
    }
    await quic.destroy({ isApp: true, errorCode: 0, force: true });
  }
  facts.close = await closed;
  say(facts);
}

async function server([pki]) {
  const key = randomBytes(32);
  const quic = new QUICServer({ crypto: { key, ops }, config: configOf(pki, 'tndrl', false) });
  quic.addEventListener(events.EventQUICServerConnection.name, (event) => {
    const connection = event.detail;
    say({ accepted: connection.remotePort });
    connection.addEventListener(events.EventQUICConnectionClose.name, (end) => say({ close: ending(end.detail) }));
  });
  quic.addEventListener(events.EventQUICServerError.name, (event) => say({ close: ending(event.detail) }));
  await quic.start({ host: '127.0.0.1', port: 0 });
  say({ port: quic.port });
  await new Promise((resolve) => process.stdin.on('end', resolve).resume());
}

const [role, ...rest] = process.argv.slice(2);
await (role === 'client' ? client(rest) : server(rest));
process.exit(0);
