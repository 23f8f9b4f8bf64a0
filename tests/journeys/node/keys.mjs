// One key: the same body twice, then another one.

import { asked, client, refusal, tell } from "./client.mjs";

const chats = client.chat.completions;
const options = { headers: { "Idempotency-Key": "node" } };
const first = await chats.create(asked("say 3 words as node-keyed"), options);
const second = await chats.create(asked("say 3 words as node-keyed"), options);
const other = await refusal(() => chats.create(asked("say 4 words as node-keyed"), options));
tell({ same: first.id === second.id, text: second.choices[0].message.content, other });
