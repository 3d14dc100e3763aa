// The 2.x TypeScript client, which negotiates 2026-07-28: node smoke_client.mjs URL PYTHON
import assert from 'node:assert/strict';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { converse } from './smoke_conversation.mjs';

const [url, python] = process.argv.slice(2);
const transports = {
  stdio: () => new StdioClientTransport({ command: python, args: ['-m', 'reasoning_bank', 'serve'], env: process.env, stderr: 'ignore' }),
  http: () => new StreamableHTTPClientTransport(new URL(url)),
};
for (const [name, connect] of Object.entries(transports)) {
  const client = new Client({ name: 'smoke', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(connect());
  await converse(client, assert);
  await client.close();
  console.log(`client 2.x over ${name}: ok`);
}
process.exit(0);
