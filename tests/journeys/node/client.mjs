// The official client, which remembers each request that it sent with the task that came of it.
//
//     node SCRIPT.mjs SERVER ENGINE TOKEN        prints one line of JSON: {"requests": […], "result": …}

import OpenAI from "openai";

const [server, engine, token] = process.argv.slice(2);
const requests = [];

export const POOL = "words";

async function remembering(url, init) {
  const reply = await fetch(url, init);
  const task = reply.headers.get("inferpool-task-id");
  requests.push({ task_id: task, body: init.body ?? null, status: reply.status });
  return reply;
}

export const client = new OpenAI({ baseURL: `${server}/v1`, apiKey: token, fetch: remembering });

// What a whole chat is asked with.
export function asked(text, rest = {}) {
  return { model: POOL, messages: [{ role: "user", content: text }], ...rest };
}

// Whatever the scripted engine offers its tests: a gate to open, a state to wait for.
export async function engineDoes(method, path) {
  const reply = await fetch(engine + path, { method });
  if (!reply.ok) throw new Error(`the engine answered ${reply.status}`);
  return reply;
}

// What the client made of a refusal.
export async function refusal(calling) {
  try {
    await calling();
  } catch (error) {
    const { status = null, code = null, type = null, param = null, message } = error;
    return { kind: error.constructor.name, status, code, type, param, message, request_id: error.requestID ?? null };
  }
  throw new Error("nothing was refused");
}

export function tell(result) {
  process.stdout.write(JSON.stringify({ requests, result }) + "\n");
}
