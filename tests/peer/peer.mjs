// What reconcile is compared with: documents replicated from PouchDB to an express-pouchdb server in a process
// of its own, LevelDB on both sides, over loopback, 1,000 documents a batch.
//
//   node peer.mjs N [FOLDER]    N documents of about 500 bytes, made here
//   node peer.mjs - [FOLDER]    one document for each JSON line of standard input
//
// Prints {"documents": N, "seconds": from the first request to the last document at the target}. The databases
// lie in FOLDER (the system's folder for temporary files if none is named) and are removed at the end.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import express from "express";
import expressPouchDB from "express-pouchdb";
import PouchDB from "pouchdb";

const BATCH = 1000;

function serve(folder) {
  const databases = PouchDB.defaults({ prefix: join(folder, "/") });
  const app = express();
  app.use(expressPouchDB(databases, { mode: "minimumForPouchDB", inMemoryConfig: true }));
  const server = app.listen(0, "127.0.0.1", () => process.send(server.address().port));
  // The other end is gone: so is this.
  process.on("disconnect", () => process.exit(0));
}

function made(count) {
  return Array.from({ length: count }, (_, n) => {
    const hash = (text) => createHash("sha256").update(`${text}${n}`).digest("hex");
    const body = { type: "scan.accepted", item: "API-100", lot: `L-${n}`, symbology: "gs1_datamatrix" };
    const signature = hash("r") + hash("s");
    const at = "2025-11-22T11:04:05.123Z";
    return { seq: n + 1, prev: hash("prev"), at, body, hash: hash("entry"), signature };
  });
}

function read() {
  return readFileSync(0, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

async function fill(source, documents) {
  for (let first = 0; first < documents.length; first += BATCH) {
    const batch = documents.slice(first, first + BATCH);
    const named = batch.map((document, n) => ({ ...document, _id: String(first + n).padStart(9, "0") }));
    const failed = (await source.bulkDocs(named)).find((result) => !result.ok);
    if (failed) throw new Error(`the source refused ${failed.id}: ${failed.message}`);
  }
}

async function replicate(documents, folder, port) {
  const source = new PouchDB(join(folder, "source"));
  await fill(source, documents);
  const target = new PouchDB(`http://127.0.0.1:${port}/target`);
  await target.info();
  const start = process.hrtime.bigint();
  const result = await source.replicate.to(target, { batch_size: BATCH });
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  const held = (await target.info()).doc_count;
  await source.close();
  if (!result.ok || held !== documents.length) {
    throw new Error(`${held} of ${documents.length} documents at the target: ${JSON.stringify(result.errors)}`);
  }
  return seconds;
}

async function main(what, parent = tmpdir()) {
  const documents = what === "-" ? read() : made(Number(what));
  if (documents.length === 0) throw new Error("usage: node peer.mjs N|- [FOLDER]");
  const folder = mkdtempSync(join(parent, "lotgate-peer-"));
  const server = spawn(process.execPath, [fileURLToPath(import.meta.url), "serve", folder], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  try {
    const port = await new Promise((resolve, reject) => {
      server.once("message", resolve);
      server.once("exit", () => reject(new Error("the server did not start")));
    });
    const seconds = await replicate(documents, folder, port);
    console.log(JSON.stringify({ documents: documents.length, seconds }));
  } finally {
    const ended = new Promise((resolve) => server.once("close", resolve));
    if (server.exitCode === null && server.kill()) await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

const [what, folder] = process.argv.slice(2);
if (what === "serve") serve(folder);
else {
  await main(what, folder).catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
