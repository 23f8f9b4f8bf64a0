// Whole, streamed, in numbers, many at once: what the client reads of good answers.

import { asked, client, POOL, tell } from "./client.mjs";

const chats = client.chat.completions;
const whole = await chats.create(asked("say 6 words as node"));

const chunks = [];
const wish = { stream: true, stream_options: { include_usage: true } };
for await (const chunk of await chats.create(asked("say 7 words every 2 ms as node", wish))) chunks.push(chunk);

const many = Array.from({ length: 20 }, (_, number) => `say 3 words as node-${number}`);
const together = await Promise.all(many.map((text) => chats.create(asked(text))));

const models = [];
for await (const model of client.models.list()) models.push(model.id);

tell({
  whole: { text: whole.choices[0].message.content, usage: whole.usage, request_id: whole._request_id },
  streamed: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""),
  usage: chunks.at(-1).usage,
  together: together.map((answer) => answer.choices[0].message.content),
  models,
  one: (await client.models.retrieve(`${POOL}@box`)).id,
});
