// Signs a batch of PDF files, with nothing but Node.js 22.18 or newer: node example.ts REFERENCE FILE...
//
// The environment says where and as whom: BATCHSEAL_URL, BATCHSEAL_CLIENT_ID, BATCHSEAL_SECRET. Signed files are written to the
// folder `signed`. Exit code: 0 if every file was signed.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, parse } from 'node:path';

const { BATCHSEAL_URL: url, BATCHSEAL_CLIENT_ID: clientId, BATCHSEAL_SECRET: secret } = process.env;
const api = `${url}/signstash/einvoice-integration-client-ws/api/v0`;
const tokenUrl = `${url}/oauth2/authorization-server/oauth/token`;
// How often a batch that has failed is handed in again.
const resubmissions = 2;
let token = '';

interface Operation {
  id: number;
  status: string;
  documentsTotal: number;
  documentsFailed: number;
}

interface DocumentEntry {
  name: string;
  signStatus: string;
  signError?: string | null;
  causeMessage?: string | null;
}

// The service refused a call. `code` is the `errorCode` of its reply.
class Refused extends Error {
  status: number;
  code: string;

  constructor(status: number, code: string, cause: string) {
    super(`${status} ${code}: ${cause}`);
    this.status = status;
    this.code = code;
  }
}

// One call. Waits and repeats it while the service has no room (429, 503), and renews the token once (401).
async function call(address: string, options: RequestInit = {}, own?: string): Promise<Response> {
  for (let attempt = 0; attempt < 10; attempt++) {
    const headers = new Headers(options.headers);
    headers.set('Authorization', own ?? `Bearer ${token}`);
    const reply = await fetch(address, { ...options, headers, signal: AbortSignal.timeout(120_000) });
    if (reply.ok) return reply;
    const said = await reply.text();
    if (reply.status === 429 || reply.status === 503) {
      const seconds = Number(reply.headers.get('Retry-After') ?? 2 ** attempt);
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    } else if (reply.status === 401 && own === undefined && attempt === 0) {
      await logIn();
    } else {
      const problem = said.startsWith('{') ? (JSON.parse(said) as Record<string, string>) : {};
      throw new Refused(reply.status, problem['errorCode'] ?? '', problem['causeMessage'] ?? '');
    }
  }
  throw new Refused(503, '', 'the service had no room for a long time');
}

// 1 token: it lives for an hour, and is good for any number of calls.
async function logIn(): Promise<void> {
  const body = new URLSearchParams({ grant_type: 'client_credentials' });
  const basic = Buffer.from(`${clientId}:${secret}`).toString('base64');
  const reply = await call(tokenUrl, { method: 'POST', body }, `Basic ${basic}`);
  token = ((await reply.json()) as { access_token: string }).access_token;
}

// 2 register: the service answers once the batch is stored. The reference is unique, so a repeated call signs nothing twice.
async function register(reference: string, files: string[]): Promise<void> {
  const documents = files.map((file) => ({
    documentRequest: {
      externalReference: parse(file).name,
      name: basename(file),
      contentType: 'application/pdf',
      base64Content: readFileSync(file).toString('base64'),
    },
    signatureInfo: { signatureType: 'PAdES', reason: 'Invoice issued' },
  }));
  const body = JSON.stringify({ externalReference: reference, description: 'An example in TypeScript', documents });
  try {
    await call(`${api}/async/document/sign/base64/`, { method: 'POST', body, headers: { 'Content-Type': 'application/json' } });
  } catch (refusal) {
    // 0.0.7, the reference is taken: an earlier call got through, whose reply was lost.
    if (!(refusal instanceof Refused) || refusal.code !== '0.0.7') throw refusal;
  }
}

// 3 poll: the service holds each reply back for up to 30 s, or until the batch has ended.
async function ended(reference: string): Promise<Operation> {
  for (;;) {
    const path = `${api}/async/operation/status/withExternalReference/${encodeURIComponent(reference)}`;
    const reply = await call(path, { headers: { Prefer: 'wait=30' } });
    const operation = ((await reply.json()) as Operation[])[0]; // the newest comes first
    if (operation && ['EXECUTED', 'EXECUTION_FAILED'].includes(operation.status)) return operation;
  }
}

// 4 fetch: each signed document as it is. Returns why documents were not signed.
async function fetchSigned(id: number, folder: string): Promise<string[]> {
  const reply = await call(`${api}/operation/sign/detail/${id}/contentInResponse/false`);
  const { documentList } = (await reply.json()) as { documentList: DocumentEntry[] };
  mkdirSync(folder, { recursive: true });
  const failed: string[] = [];
  for (const [ordinal, document] of documentList.entries()) {
    if (document.signStatus === 'SIGNED') {
      const content = await call(`${api}/operation/sign/detail/${id}/documents/${ordinal}`, { headers: { Accept: '*/*' } });
      writeFileSync(join(folder, basename(document.name)), Buffer.from(await content.arrayBuffer()));
    } else {
      failed.push(`${document.name}: ${document.signError} ${document.causeMessage}`);
    }
  }
  return failed;
}

async function main(): Promise<number> {
  const [reference, ...files] = process.argv.slice(2);
  if (!reference || !files.length) throw new Error('node example.ts REFERENCE FILE...');
  await logIn();
  await register(reference, files);
  let operation = await ended(reference);
  for (let again = 0; again < resubmissions && operation.status !== 'EXECUTED'; again++) {
    // 5 resubmit: the same request once more. What is signed already is not signed again.
    console.log(`${operation.documentsFailed} of ${operation.documentsTotal} documents failed; handing them in again`);
    await register(reference, files);
    operation = await ended(reference);
  }
  const failed = await fetchSigned(operation.id, 'signed');
  console.log(`${operation.documentsTotal - failed.length} of ${operation.documentsTotal} documents are signed`);
  failed.forEach((text) => console.error(text));
  return failed.length ? 1 : 0;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (problem: unknown) => {
    console.error(problem);
    process.exitCode = 1;
  },
);
