// Callers that leave: a stream that is closed, one that is aborted, a blocked call that is aborted.

import { asked, client, engineDoes, refusal, tell } from "./client.mjs";

const chats = client.chat.completions;

async function streamed(text, leave) {
  const stream = await chats.create(asked(text, { stream: true }));
  let seen = 0;
  for await (const _ of stream) {
    if (++seen === 3 && leave(stream)) break;
  }
  return seen;
}

const broke = await streamed("say 500 words every 20 ms as node-break", () => true);
const aborted = await streamed("say 500 words every 20 ms as node-abort", (stream) => stream.controller.abort());

const leaver = new AbortController();
const waiting = (await (await engineDoes("GET", "/_calls")).json()).filter((call) => call.waiting).length;
const blocked = refusal(() => chats.create(asked("hang after 0 as node-blocked"), { signal: leaver.signal }));
await engineDoes("GET", `/_wait?state=waiting&count=${waiting + 1}`);
leaver.abort();
tell({ broke, aborted, blocked: (await blocked).kind });
