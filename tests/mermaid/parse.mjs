// Reads diagrams (a JSON list of texts) and writes what mermaid's own parser makes of each: its nodes and its arrows. An
// argument is the configuration of the site that draws them.
import { JSDOM } from "jsdom";

const { window } = new JSDOM("");
Object.assign(globalThis, { window, document: window.document }); // mermaid cleans labels with DOMPurify, which needs a DOM
const { default: mermaid } = await import("mermaid");
mermaid.initialize(JSON.parse(process.argv[2] ?? "{}"));
let request = "";
for await (const part of process.stdin) request += part;
const answers = [];
for (const text of JSON.parse(request)) {
  await mermaid.parse(text);
  const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
  answers.push({
    nodes: [...db.getVertices().values()].map(({ id, text, classes }) => ({ id, text, classes })),
    arrows: db.getEdges().map(({ start, end, text }) => ({ start, end, text })),
  });
}
process.stdout.write(JSON.stringify(answers));
