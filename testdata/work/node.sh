cat > a.js <<'X'
const { Worker, isMainThread, parentPort } = require('node:worker_threads');
if (!isMainThread) { parentPort.postMessage(6 * 7); return; }
const fs = require('node:fs'), cp = require('node:child_process'), http = require('node:http'), assert = require('node:assert');
const { pipeline } = require('node:stream/promises'), zlib = require('node:zlib'), crypto = require('node:crypto'), os = require('node:os');
(async () => {
	assert.equal(await new Promise((ok, no) => new Worker(__filename).on('message', ok).on('error', no)), 42);
	assert.equal(cp.execSync('echo child').toString(), 'child\n');
	const child = cp.fork('-e', [], { execArgv: ['-e', 'process.send(process.pid)'] });
	assert.equal(await new Promise(ok => child.on('message', ok)), child.pid);
	const server = http.createServer((q, r) => fs.createReadStream(process.execPath, { end: 99999 }).pipe(r));
	await new Promise(ok => server.listen(0, '127.0.0.1', ok));
	const body = await (await fetch('http://127.0.0.1:' + server.address().port)).arrayBuffer();
	assert.equal(body.byteLength, 100000); server.close(); server.closeAllConnections();
	const unix = http.createServer((q, r) => r.end('unix')); await new Promise(ok => unix.listen('/tmp/s', ok));
	assert.equal(await new Promise(ok => http.get({ socketPath: '/tmp/s' }, r => r.on('data', d => ok(d.toString())))), 'unix'); unix.close();
	await pipeline(fs.createReadStream(process.execPath), zlib.createGzip({ level: 1 }), fs.createWriteStream('/tmp/node.gz'));
	fs.cpSync('/etc', '/tmp/etc', { recursive: true }); fs.rmSync('/tmp/etc', { recursive: true });
	const seen = new Promise(ok => { const w = fs.watch('/tmp', () => { w.close(); ok(); }); }); fs.writeFileSync('/tmp/watched', 'x'); await seen;
	await new Promise((ok, no) => crypto.scrypt('a', 'b', 64, e => e ? no(e) : ok())); crypto.randomBytes(32); crypto.generateKeyPairSync('ed25519');
	assert(os.cpus().length > 0); os.networkInterfaces(); process.title = 'x';
	await require('node:dns').promises.lookup('localhost');
})().then(() => console.log('ok'), e => { console.error(e); process.exit(1); });
X
node a.js; node --test --test-reporter=dot -e '' 2> /dev/null || node -e 'require("node:test").test("t", () => {})'
