// Runs one Playwright script, the body of a function, in the browser at an address. Request and result are JSON.
import { stripTypeScriptTypes } from 'node:module';
import { format } from 'node:util';

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { playwright, address, code } = JSON.parse(Buffer.concat(chunks).toString());
const { chromium } = await import(playwright);

const stdout = [];
const stderr = [];
console.log = console.info = console.debug = (...values) => stdout.push(format(...values) + '\n');
console.error = console.warn = (...values) => stderr.push(format(...values) + '\n');

function finish(outcome) {
  const result = { ...outcome, stdout: stdout.join(''), stderr: stderr.join('') };
  process.stdout.write(JSON.stringify(result), () => process.exit(0));
}

try {
  const browser = await chromium.connectOverCDP(address);
  const context = browser.contexts()[0];
  const page = context.pages()[0] ?? (await context.newPage());
  const head = 'async function script(page, context, browser) {';
  const stripped = stripTypeScriptTypes(`${head}${code}\n}`);
  const script = new Function(`${stripped}; return script;`)();
  finish({ success: true, result: (await script(page, context, browser)) ?? null });
} catch (error) {
  stderr.push(String(error?.stack ?? error));
  finish({ success: false, error: String(error?.message ?? error) });
}
