// The TypeScript SDK as client of `ccc serve`: node sdk.mjs PROJECT CCC ARG...
// It prints one JSON object with what it saw; the Go test judges it.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js';

const [project, command, ...args] = process.argv.slice(2);
const client = new Client({ name: 'sdk', version: '1.32.0' }, { capabilities: {} });
const errors = [];
client.onerror = (e) => errors.push(String(e));
await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: 'inherit' }));
const call = (name, args, options) => client.callTool({ name, arguments: args }, CallToolResultSchema, options);
const failure = async (promise) => { try { await promise; return ''; } catch (e) { return String(e); } };
const seen = {};

seen.tools = (await client.listTools()).tools.map((t) => t.name);
seen.created = await call('create_session', { projectPath: project, sessionName: 'sdk' });
seen.ran = await call('execute_command', { sessionId: 'sdk', command: 'echo out; echo err >&2; exit 3' });
seen.refused = await call('execute_command', { sessionId: 'sdk', comand: 'true' });

// Longer than the limit, kept alive by progress.
seen.progress = [];
seen.long = await call('execute_command', { sessionId: 'sdk', command: 'echo 12345; sleep 7' }, {
  timeout: 6000, resetTimeoutOnProgress: true, onprogress: (p) => seen.progress.push(p),
});
// What gives up, gives up in the session too.
seen.timeout = await failure(call('execute_command', { sessionId: 'sdk', command: 'sleep 4711' }, { timeout: 500 }));
const stop = new AbortController();
setTimeout(() => stop.abort('enough'), 500);
seen.abort = await failure(call('execute_command', { sessionId: 'sdk', command: 'sleep 4712' }, { signal: stop.signal }));
for (let i = 0; i < 50; i++) {
  seen.left = (await call('execute_command', { sessionId: 'sdk', command: 'ps -o args | grep "[s]leep 47"' })).structuredContent.stdout.text;
  if (seen.left === '') break;
}
// Many at once, each with its own answer.
const many = await Promise.all(Array.from({ length: 40 }, (_, i) => call('get_session', { sessionId: i % 2 ? 'sdk' : 'none' + i })));
seen.many = many.filter((r, i) => i % 2 ? r.structuredContent.session.name === 'sdk' : r.isError && r.structuredContent.error.message.includes('none' + i)).length;
seen.removed = await call('destroy_session', { sessionId: 'sdk' });
await client.close();
seen.errors = errors;
console.log(JSON.stringify(seen));
