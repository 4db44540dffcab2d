// messages.mjs PORT LOG - a Messages API on the loopback that answers by a script:
// a first request is told to run a command, the next, which brings the command's
// output, to say that it is done. What was asked goes to LOG, a line for each
// request. It is as much of the interface as the real Claude Code needs for one
// turn with a tool call.
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';

const [port, log] = process.argv.slice(2);

function events(content, reason) {
	const list = [['message_start', { message: {
		id: 'msg_1', type: 'message', role: 'assistant', model: 'scripted', content: [], stop_reason: null,
		stop_sequence: null, usage: { input_tokens: 1, output_tokens: 1 },
	} }]];
	content.forEach((block, index) => {
		const tool = block.type === 'tool_use';
		list.push(['content_block_start', { index, content_block: tool ? { ...block, input: {} } : { type: 'text', text: '' } }]);
		list.push(['content_block_delta', { index, delta: tool
			? { type: 'input_json_delta', partial_json: JSON.stringify(block.input) } : { type: 'text_delta', text: block.text } }]);
		list.push(['content_block_stop', { index }]);
	});
	list.push(['message_delta', { delta: { stop_reason: reason, stop_sequence: null }, usage: { output_tokens: 2 } }]);
	list.push(['message_stop', {}]);
	return list.map(([type, data]) => `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`).join('');
}

createServer((request, response) => {
	let body = '';
	request.on('data', part => body += part);
	request.on('end', () => {
		appendFileSync(log, `${request.method} ${request.url} ${body.length}\n`);
		if (!request.url.startsWith('/v1/messages') || request.method !== 'POST') {
			response.writeHead(404).end();
			return;
		}
		const asked = JSON.parse(body);
		const result = asked.messages.flatMap(m => Array.isArray(m.content) ? m.content : []).find(c => c.type === 'tool_result');
		const tool = (asked.tools ?? []).some(t => t.name === 'Bash');
		response.writeHead(200, { 'content-type': 'text/event-stream' });
		if (result) {
			const said = typeof result.content === 'string' ? result.content : result.content.map(c => c.text).join('');
			response.end(events([{ type: 'text', text: `the command said: ${said}` }], 'end_turn'));
		} else if (tool) {
			const input = { command: 'echo written by the agent > /workspace/agent.txt; id -u; cat /workspace/README', description: 'write a file' };
			response.end(events([{ type: 'tool_use', id: 'toolu_1', name: 'Bash', input }], 'tool_use'));
		} else {
			response.end(events([{ type: 'text', text: 'ok' }], 'end_turn'));
		}
	});
}).listen(Number(port), '127.0.0.1', () => console.log('listening'));
