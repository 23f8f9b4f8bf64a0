// Vectors as the client asks for them by itself (in base64), then as plain numbers.

import { client, POOL, tell } from "./client.mjs";

const input = ["red", "green"];
const packed = await client.embeddings.create({ model: POOL, input });
const plain = await client.embeddings.create({ model: POOL, input, encoding_format: "float" });
tell([packed, plain].map((answer) => answer.data.map((one) => Array.from(one.embedding))));
