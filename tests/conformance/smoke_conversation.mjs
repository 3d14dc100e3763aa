// What every client must be able to do: list, store, find, read, and understand a refusal.
export async function converse(client, assert) {
  const { tools } = await client.listTools();
  assert.equal(tools[0].name, 'retrieve_memory');
  const lesson = {
    title: 'Pin the versions of build tools',
    description: 'When a build breaks without a change of ours',
    content: 'Compare the lock file with the last green build, pin what moved, then upgrade on purpose in a commit of its own.',
  };
  const task = 'The build breaks although nothing changed';
  const stored = await client.callTool({ name: 'store_trace', arguments: { task, outcome: 'success', memories: [lesson] } });
  assert.ok(stored.structuredContent.trace_id);
  const found = await client.callTool({ name: 'retrieve_memory', arguments: { task, min_score: 0 } });
  assert.ok(found.structuredContent.memories.length > 0);
  assert.ok(found.content[0].text.startsWith(found.structuredContent.context));
  const refused = await client.callTool({ name: 'retrieve_memory', arguments: { task, k: '5' } });
  assert.equal(refused.isError, true);
  assert.match(refused.content[0].text, /`k` must be an integer/);
  const stats = await client.readResource({ uri: 'bank://stats' });
  assert.ok(JSON.parse(stats.contents[0].text).memories > 0);
  const { prompts } = await client.listPrompts();
  assert.equal(prompts.length, 3);
}
