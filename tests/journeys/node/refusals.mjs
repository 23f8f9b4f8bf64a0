// Errors, each as the client's own exception with what it read of it.

import { asked, client, engineDoes, refusal, tell } from "./client.mjs";

const chats = client.chat.completions;
const told = {
  unknown: await refusal(() => chats.create({ ...asked("say 1 words"), model: "wrods" })),
  whole: await refusal(() => chats.create(asked("status 400 as node-whole"))),
  streamed: await refusal(() => chats.create(asked("status 400 as node-streamed", { stream: true }))),
  failing: await refusal(() => chats.create(asked("status 503 retry-after 0 as node"))),
  impatient: await refusal(() =>
    chats.create(asked("say 2 words gate node-patience"), { headers: { "x-stainless-timeout": "1" } }),
  ),
};
await engineDoes("POST", "/_gate/node-patience");

const seen = [];
const stream = await chats.create(
  asked("say 6 words as node gate node-broken after 3 break after 3 times 1", { stream: true }),
);
told.broken = await refusal(async () => {
  for await (const chunk of stream) {
    seen.push(chunk.choices[0].delta.content);
    if (seen.length === 4) await engineDoes("POST", "/_gate/node-broken");
  }
});
tell({ ...told, seen: seen.join("") });
