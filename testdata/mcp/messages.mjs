// A Messages API that follows a script: node messages.mjs SCRIPT.json
// The script is a list of turns, each {"tool": NAME, "input": {...}} or
// {"text": WORDS}. It prints its port first, then every request's last message.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';

const script = JSON.parse(readFileSync(process.argv[2], 'utf8'));
let turn = 0;
const server = createServer((req, res) => {
  const parts = [];
  req.on('data', (d) => parts.push(d));
  req.on('end', () => {
    if (req.method !== 'POST' || !req.url.startsWith('/v1/messages')) { res.writeHead(404); res.end('{}'); return; }
    const asked = JSON.parse(Buffer.concat(parts).toString());
    // Claude Code also asks small things without tools; those get a word.
    const real = (asked.tools ?? []).some((t) => t.name === 'ToolSearch');
    const step = real ? script[Math.min(turn++, script.length - 1)] : { text: 'ok' };
    console.log(JSON.stringify({ real, step, last: asked.messages.slice(-2) }));
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    const send = (type, data) => res.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
    send('message_start', { message: { id: 'msg_' + turn, type: 'message', role: 'assistant', model: asked.model, content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: 1, output_tokens: 1 } } });
    if (step.tool) {
      send('content_block_start', { index: 0, content_block: { type: 'tool_use', id: 'toolu_' + turn, name: step.tool, input: {} } });
      send('content_block_delta', { index: 0, delta: { type: 'input_json_delta', partial_json: JSON.stringify(step.input) } });
    } else {
      send('content_block_start', { index: 0, content_block: { type: 'text', text: '' } });
      send('content_block_delta', { index: 0, delta: { type: 'text_delta', text: step.text } });
    }
    send('content_block_stop', { index: 0 });
    send('message_delta', { delta: { stop_reason: step.tool ? 'tool_use' : 'end_turn', stop_sequence: null }, usage: { output_tokens: 1 } });
    send('message_stop', {});
    res.end();
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
