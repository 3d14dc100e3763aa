// The 1.x TypeScript SDK, which shakes hands as 2025-11-25: node smoke_sdk.mjs URL PYTHON
import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { converse } from './smoke_conversation.mjs';

const [url, python] = process.argv.slice(2);
const transports = {
  stdio: () => new StdioClientTransport({ command: python, args: ['-m', 'reasoning_bank', 'serve'], env: process.env, stderr: 'ignore' }),
  http: () => new StreamableHTTPClientTransport(new URL(url)),
};
for (const [name, connect] of Object.entries(transports)) {
  const client = new Client({ name: 'smoke', version: '1.0.0' });
  await client.connect(connect());
  await converse(client, assert);
  await client.close();
  console.log(`sdk 1.x over ${name}: ok`);
}
process.exit(0);
