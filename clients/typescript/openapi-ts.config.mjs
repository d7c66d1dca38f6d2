// @hey-api/openapi-ts 0.99 with TypeScript 5.9 (TypeScript 7 breaks the generator): openapi-ts --file openapi-ts.config.mjs
export default {
  input: 'openapi.json',
  output: 'client',
  plugins: ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk'],
};
