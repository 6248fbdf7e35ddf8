/** The code that does in a frontend what this page just did. */

/**
 * @param {Record<string, string>} headers
 * @returns {string}
 */
function headerLines(headers) {
  return Object.entries(headers)
    .map(([name, value]) => `    '${name}': '${value}',\n`)
    .join('');
}

/**
 * A call to the backend.
 *
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string>} headers
 * @returns {string}
 */
export function backendCall(method, path, headers) {
  const verb = method === 'GET' ? '' : `  method: '${method}',\n`;
  return `const answer = await fetch('${path}', {\n${verb}  credentials: 'same-origin',\n  headers: {\n${headerLines(headers)}  },\n});`;
}

/**
 * A call to the provider's API with a token of the backend.
 *
 * @param {string} provider
 * @param {string | null} path under the API's base URL; null where the call goes elsewhere
 * @param {string} url the whole address
 * @returns {string}
 */
export function providerCall(provider, path, url) {
  return [
    `const token = await fetch('/auth/${provider}/token', {`,
    `  credentials: 'same-origin',`,
    `  headers: { 'X-MultiMusic-Client': '1' },`,
    `}).then((answer) => answer.json());`,
    ``,
    `const answer = await fetch(${path === null ? `'${url}'` : `token.api.base_url + '${path}'`}, {`,
    `  headers: token.api.headers,`,
    `});`,
  ].join('\n');
}

/**
 * A call to the sandbox's fault switches.
 *
 * @param {string} url
 * @param {string} method
 * @param {Record<string, unknown> | null} body
 * @returns {string}
 */
export function sandboxCall(url, method, body) {
  if (!body) return `await fetch('${url}', { method: '${method}' });`;
  const fields = JSON.stringify(body, null, 2).replaceAll('\n', '\n  ');
  return [
    `await fetch('${url}', {`,
    `  method: '${method}',`,
    `  headers: { 'Content-Type': 'application/json' },`,
    `  body: JSON.stringify(${fields}),`,
    `});`,
  ].join('\n');
}
