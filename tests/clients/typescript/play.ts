// Plays the scenario (`scenario.py`) with the client of openapi-ts.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { createClient } from './client/client';
import {
  documentById,
  documentsById,
  operationOfDocument,
  registerFiles,
  registerJson,
  resultById,
  resultByReference,
  signFiles,
  signJson,
  statusById,
  statusByReference,
  token,
} from './client';
import type { SignOperation, SignRequest } from './client';

interface Told {
  url: string;
  id: string;
  secret: string;
  reference: string;
  pdf: string;
  out: string;
}

const told: Told = JSON.parse(readFileSync(process.argv[2]!, 'utf8'));
const pdf = readFileSync(told.pdf);
const calls: Record<string, [number, unknown]> = {};

function request(name: string, documents = 1, content = true): SignRequest {
  const asked = Array.from({ length: documents }, (_, number): SignRequest['documents'][number] => ({
    documentRequest: {
      externalReference: `${told.reference} ${name} ${number}`,
      name: `invoice-${number}.pdf`,
      contentType: 'application/pdf',
      ...(content ? { base64Content: pdf.toString('base64') } : {}),
    },
    signatureInfo: { signatureType: 'PAdES', reason: 'Approved' },
  }));
  return { externalReference: `${told.reference} ${name}`, description: 'a scenario', documents: asked };
}

// The data of a reply; a reply without data is a refusal.
function given<T>(reply: { data?: T; error?: unknown }): T {
  if (reply.data === undefined) throw new Error(JSON.stringify(reply.error));
  return reply.data;
}

function status(reply: { response?: Response }): number {
  return reply.response?.status ?? 0;
}

function noteResult(call: string, http: number, operation: SignOperation, kept?: string): void {
  const contents = operation.documentList.flatMap((one) => one.signedContent ?? []);
  calls[call] = [http, `${operation.status} ${contents.length}`];
  if (kept) writeFileSync(join(told.out, kept), Buffer.from(contents[contents.length - 1]!, 'base64'));
}

async function noteFile(call: string, http: number, content: Blob | File, kept: string): Promise<void> {
  writeFileSync(join(told.out, kept), Buffer.from(await content.arrayBuffer()));
  calls[call] = [http, kept];
}

// A request that is signed at once gives the result; one that is only registered gives a registration.
function signed(data: object): SignOperation {
  if (!('documentList' in data)) throw new Error('not a result');
  return data as SignOperation;
}

async function main(): Promise<void> {
  const files = (count: number) => Array.from({ length: count }, () => new File([pdf], 'invoice.pdf', { type: 'application/pdf' }));

  const anonymous = createClient({
    baseUrl: told.url,
    auth: (way) => (way.scheme === 'basic' ? `${told.id}:${told.secret}` : undefined),
  });
  const issued = await token({ client: anonymous, body: { grant_type: 'client_credentials' } });
  calls['token'] = [status(issued), given(issued).token_type];
  const accessToken = given(issued).access_token;
  const client = createClient({
    baseUrl: told.url,
    auth: (way) => (way.scheme === 'bearer' ? accessToken : undefined),
  });

  const now = await signJson({ client, body: request('sign') });
  noteResult('sign_json', status(now), signed(given(now)), 'sign_json.pdf');
  const two = await signFiles({ client, body: { signRequest: request('files', 2, false), files: files(2) } });
  noteResult('sign_files', status(two), signed(given(two)), 'sign_files.pdf');

  const registered = await registerJson({ client, body: request('later'), headers: { Prefer: 'respond-async' } });
  calls['register_json'] = [status(registered), given(registered).status];
  const later = { signRequest: request('files later', 1, false), files: files(1) };
  const ofFiles = await registerFiles({ client, body: later });
  calls['register_files'] = [status(ofFiles), given(ofFiles).status];

  const headers = { Prefer: 'wait=30' };
  const externalReference = `${told.reference} later`;
  const entries = await statusByReference({ client, path: { externalReference }, headers });
  calls['status_by_reference'] = [status(entries), given(entries)[0]!.status];
  const entry = await statusById({ client, path: { id: given(ofFiles).id }, headers });
  calls['status_by_id'] = [status(entry), given(entry).status];

  const id = given(registered).id;
  const byReference = await resultByReference({ client, path: { externalReference } });
  noteResult('result_by_reference', status(byReference), given(byReference), 'result.pdf');
  const byId = await resultById({ client, path: { id, contentInResponse: false } });
  noteResult('result_by_id', status(byId), given(byId));
  const archive = await documentsById({ client, path: { id } });
  await noteFile('documents_by_id', status(archive), given(archive), 'documents.zip');
  const document = await documentById({ client, path: { id, ordinal: 0 } });
  await noteFile('document_by_id', status(document), given(document), 'document.pdf');
  const part = await documentById({ client, path: { id, ordinal: 0 }, headers: { Range: 'bytes=0-99' } });
  await noteFile('document_by_id, a range', status(part), given(part), 'range.bin');
  const found = await operationOfDocument({ client, path: { externalReference: `${externalReference} 0` } });
  calls['operation_of_document'] = [status(found), given(found) === id ? 'the operation' : given(found)];

  const unknown = await statusByReference({ client, path: { externalReference: `${told.reference} never` } });
  calls['status_by_reference, unknown'] = [status(unknown), unknown.error?.errorCode];
  writeFileSync(join(told.out, 'calls.json'), JSON.stringify(calls));
}

main().catch((fault) => {
  console.error(fault);
  process.exit(1);
});
